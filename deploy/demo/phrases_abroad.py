"""German, French, Polish and Japanese phrases."""

from __future__ import annotations

from deploy.demo.specs import AssetKind
from deploy.demo.wording import Report, Wording

GERMAN = Wording(
    greetings=("Guten Tag,", "Hallo zusammen,", "Sehr geehrte Damen und Herren,"),
    closings=("Mit freundlichen Grüßen", "Viele Grüße", "Danke und Gruß"),
    wrote="Am {day} schrieb {name}:",
    nouns={
        AssetKind.CHARGER: "Ladesäule",
        AssetKind.DOOR: "Tür",
        AssetKind.GATE: "Schranke",
        AssetKind.LIFT: "Aufzug",
    },
    trouble={
        Report.DOWN: (
            "{noun} {tag} ist seit heute früh komplett außer Betrieb (down).",
            "Bei {tag} geht gar nichts mehr, das Display bleibt dunkel.",
            "{tag} am Standort {site} ist defekt und lässt sich nicht mehr benutzen.",
        ),
        Report.DEGRADED: (
            "{tag} läuft nur noch langsam und stößt immer wieder Fehler aus.",
            "Die {noun} {tag} funktioniert zwar, ruckelt aber und braucht drei Versuche.",
        ),
        Report.WORKING: (
            "{tag} funktioniert seit eben wieder einwandfrei.",
            "Kurze Rückmeldung: {tag} läuft wieder, bitte niemanden mehr schicken.",
        ),
        Report.UNCLEAR: (
            "Ich bin mir nicht sicher, ob {tag} kaputt ist oder ob ich es falsch bediene.",
            "An {tag} blinkt eine gelbe Lampe. Ist das normal?",
        ),
    },
    trouble_of={},
    subjects={
        Report.DOWN: ("Störung {tag}", "{tag} außer Betrieb", "Dringend: {noun} am Standort {site} defekt"),
        Report.DEGRADED: ("{tag} läuft unzuverlässig", "Probleme mit {tag}"),
        Report.WORKING: ("{tag} läuft wieder", "Entwarnung für {tag}"),
        Report.UNCLEAR: ("Frage zu {tag}", "Gelbe Lampe an {tag}"),
    },
    details=(
        "Der Zugang ist über die Rückseite möglich, den Schlüssel gibt es am Empfang.",
        "Wir haben die Sicherung schon geprüft, daran liegt es nicht.",
        "Bitte melden Sie sich vor der Anfahrt kurz telefonisch, die Höhe der Einfahrt ist begrenzt.",
    ),
    questions=(
        ("Rechnung {number}", "in der Rechnung {number} stehen zwei Anfahrten, es war aber nur eine. Bitte prüfen."),
        ("Wartungstermin {site}", "wann ist die nächste Prüfung am Standort {site} geplant? Uns passt {day} gut."),
    ),
    thanks=(("Danke!", "das ging schnell, herzlichen Dank an den Techniker."),),
    follow_ups=(
        "Danke für die schnelle Antwort. Heute Nachmittag wäre jemand vor Ort.",
        "Leider unverändert, bitte schicken Sie jemanden.",
        "Alles klar, wir warten auf Ihre Rückmeldung.",
    ),
)

FRENCH = Wording(
    greetings=("Bonjour,", "Madame, Monsieur,", "Bonjour à tous,"),
    closings=("Cordialement", "Bien à vous", "Merci d'avance"),
    wrote="Le {day}, {name} a écrit :",
    nouns={
        AssetKind.CHARGER: "la borne",
        AssetKind.DOOR: "la porte",
        AssetKind.GATE: "la barrière",
        AssetKind.LIFT: "l'ascenseur",
    },
    trouble={
        Report.DOWN: (
            "{tag} est en panne depuis ce matin, plus rien ne réagit.",
            "À {site}, {noun} {tag} est hors service, l'écran reste noir.",
        ),
        Report.DEGRADED: ("{tag} marche très lentement et s'arrête par moments.",),
        Report.WORKING: ("{tag} fonctionne de nouveau, merci beaucoup.",),
        Report.UNCLEAR: ("Je ne sais pas si {tag} est vraiment en panne, le voyant clignote.",),
    },
    trouble_of={},
    subjects={
        Report.DOWN: ("Panne {tag}", "Hors service : {tag}"),
        Report.DEGRADED: ("{tag} très lente", "Problème répété sur {tag}"),
        Report.WORKING: ("{tag} réparée",),
        Report.UNCLEAR: ("Voyant allumé sur {tag}, est-ce grave ?",),
    },
    details=(
        "Le gardien vous ouvrira l'accès arrière, il suffit de sonner à l'entrée.",
        "Nous avons déjà redémarré l'appareil deux fois, sans succès.",
    ),
    questions=(
        ("Facture {number}", "nous n'avons pas reçu le détail de la facture {number}, pouvez-vous nous l'envoyer ?"),
        ("Rendez-vous à {site}", "serait-il possible de décaler la visite prévue à {site} au {day} ?"),
    ),
    thanks=(("Merci !", "l'équipe était très agréable et tout est réparé."),),
    follow_ups=(
        "Merci pour votre réponse, quelqu'un sera sur place cet après-midi.",
        "Toujours le même problème chez nous, malheureusement.",
    ),
)

POLISH = Wording(
    greetings=("Dzień dobry,", "Witam,"),
    closings=("Z poważaniem", "Pozdrawiam"),
    wrote="W dniu {day} {name} napisał(a):",
    nouns={
        AssetKind.CHARGER: "ładowarka",
        AssetKind.DOOR: "drzwi",
        AssetKind.GATE: "szlaban",
        AssetKind.LIFT: "winda",
    },
    trouble={
        Report.DOWN: ("{tag} nie działa od rana, ekran jest zupełnie ciemny.", "Awaria: {noun} {tag}, {site}."),
        Report.DEGRADED: ("{tag} działa bardzo wolno i co chwilę się zawiesza.",),
        Report.WORKING: ("{tag} już działa, dziękujemy.",),
        Report.UNCLEAR: ("Nie wiem, czy {tag} jest zepsuta, ale słychać dziwny dźwięk.",),
    },
    trouble_of={},
    subjects={
        Report.DOWN: ("Awaria {tag}", "{tag} nie działa"),
        Report.DEGRADED: ("{tag} działa wolno",),
        Report.WORKING: ("{tag} już działa",),
        Report.UNCLEAR: ("Pytanie o {tag}",),
    },
    details=("Klucz do rozdzielni jest u ochrony przy wejściu głównym.", "Próbowaliśmy już restartu, bez skutku."),
    questions=(("Faktura {number}", "proszę o korektę faktury {number}, adres jest nieaktualny."),),
    thanks=(("Dziękuję", "wszystko działa, świetna robota."),),
    follow_ups=("Dziękuję za odpowiedź, będziemy na miejscu po południu.", "Niestety nadal bez zmian."),
)

JAPANESE = Wording(
    greetings=("お世話になっております。", "いつもありがとうございます。"),
    closings=("よろしくお願いいたします。", "以上、ご確認をお願いします。"),
    wrote="{day} {name} さんは書きました",
    nouns={
        AssetKind.CHARGER: "充電器",
        AssetKind.DOOR: "自動ドア",
        AssetKind.GATE: "ゲート",
        AssetKind.LIFT: "エレベーター",
    },
    trouble={
        Report.DOWN: ("{noun} {tag} が今朝から故障していて使えません。", "{tag} の画面が消えたままで動きません。"),
        Report.DEGRADED: ("{tag} の動作がとても遅く、何度も止まります。",),
        Report.WORKING: ("{tag} は復旧しました。ありがとうございます。",),
        Report.UNCLEAR: ("{tag} の黄色いランプが点滅していますが、故障でしょうか。",),
    },
    trouble_of={},
    subjects={
        Report.DOWN: ("{tag} 故障のご連絡", "至急 {tag} が使えません"),
        Report.DEGRADED: ("{tag} の動作不良",),
        Report.WORKING: ("{tag} 復旧しました",),
        Report.UNCLEAR: ("{tag} のランプについて",),
    },
    details=("鍵は受付にあります。到着前にお電話をください。", "再起動は二回試しましたが変わりません。"),
    questions=(("請求書 {number} について", "請求書 {number} の内訳を送っていただけますか。"),),
    thanks=(("ありがとうございました", "迅速な対応に感謝しております。"),),
    follow_ups=("ご返信ありがとうございます。午後は現地におります。", "まだ直っていないようです。"),
)
