"""A private Dovecot for tests: its own settings, port and mail in a folder of its own, gone with the test process."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from imapclient import IMAPClient

from deploy.local.processes import Launch, Spawner, end, tail
from pipeline.adapters.clock import SystemClock
from pipeline.runtime.settings import environment
from tests.worker_process import until

HOST = "127.0.0.1"
PASSWORD = "open-sesame"

_SETTINGS = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = {host}
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login{oauth_mechanisms}
auth_failure_delay = 0
mail_location = maildir:{folder}/mail/%u
mail_fsync = never
mail_max_userip_connections = {connections}
mailbox_list_index = yes
imap_idle_notify_interval = 1 min
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
first_valid_uid = 0
{capability}
{oauth}
passdb {{
  driver = static
  mechanisms = plain login
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Junk {{
    special_use = \\Junk
  }}
  mailbox Trash {{
    special_use = \\Trash
  }}
  mailbox "Sent mail" {{
    special_use = \\Sent
  }}
  mailbox Drafts {{
    special_use = \\Drafts
  }}
}}
service anvil {{
  chroot =
  # Failed logins of one test would slow down those of the next.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  process_min_avail = 1
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
service stats {{
  chroot =
}}
"""


_OAUTH = """
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {folder}/oauth2.conf
}}
"""
_OAUTH_SETTINGS = """
tokeninfo_url = {url}
username_attribute = email
"""


def missing() -> str | None:
    """Say why there is no Dovecot here, or None."""
    return None if _program() else "Dovecot is not installed (apt-get install dovecot-imapd)"


class Dovecot:
    """A running server; every user name is an account with its own mail and the one password."""

    def __init__(self, folder: Path, port: int, tls_port: int) -> None:
        self.folder, self.port, self.tls_port = folder, port, tls_port

    def client(self, user: str) -> IMAPClient:
        """Return another program's connection to an account: what changes the mailbox in tests."""
        client = IMAPClient(HOST, self.port, ssl=False, timeout=30)
        client.login(f'"{user}"', PASSWORD)
        return client

    def words(self) -> str:
        """Return the end of the server's log."""
        return tail(self.folder / "log", lines=60)


@contextmanager
def dovecot(
    *,
    without: tuple[str, ...] = (),
    tokens: str | None = None,
    mechanisms: str = "xoauth2 oauthbearer",
    connections: int = 10,
) -> Iterator[Dovecot]:
    """Start a server and give it to the block.

    `without` are capabilities that it shall not offer. `tokens` is the address that is asked about an access token,
    which is appended; the mechanisms are then offered, too. `connections` is how many an account may have at once.
    """
    program = _program()
    assert program is not None
    folder = Path(tempfile.mkdtemp(prefix="dv-"))
    folder.chmod(0o755)
    port, tls_port = _free_ports(2)
    _write_certificate(folder)
    oauth = {"oauth": "", "oauth_mechanisms": ""}
    if tokens is not None:
        oauth = {"oauth": _OAUTH.format(folder=folder), "oauth_mechanisms": f" {mechanisms}"}
        (folder / "oauth2.conf").write_text(_OAUTH_SETTINGS.format(url=tokens))
    words = {"folder": folder, "host": HOST, "port": port, "tls_port": tls_port, "password": PASSWORD}
    words |= {"connections": connections}
    settings = _SETTINGS.format(**words, **oauth, **_account(folder), capability=_capability(without))
    (folder / "dovecot.conf").write_text(settings)
    spawner = Spawner()
    argv = (program, "-F", "-c", str(folder / "dovecot.conf"))
    child = spawner.spawn(Launch(argv, environment(), folder / "output", signal.SIGKILL, cwd=folder))
    server = Dovecot(folder, port, tls_port)
    try:
        until(lambda: child.poll() is not None or _answers(port), "Dovecot to answer")
        assert child.poll() is None, tail(folder / "output", lines=20) + server.words()
        yield server
    finally:
        end(child, ((signal.SIGTERM, timedelta(seconds=20)),))
        spawner.close()
        shutil.rmtree(folder, ignore_errors=True)


def _program() -> str | None:
    return shutil.which("dovecot", path=f"{environment().get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _account(folder: Path) -> dict[str, object]:
    """Return who the server's processes are: its package's users when we are root, else ourselves."""
    mail = folder / "mail"
    mail.mkdir(mode=0o700)
    if os.geteuid() != 0:
        me, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
        own = {"uid": os.geteuid(), "gid": os.getegid()}
        return {"internal": me, "internal_group": group, "login": me, **own}
    nobody = pwd.getpwnam("nobody")
    os.chown(mail, nobody.pw_uid, nobody.pw_gid)
    users = {"internal": "dovecot", "internal_group": "dovecot", "login": "dovenull"}
    return {**users, "uid": nobody.pw_uid, "gid": nobody.pw_gid}


def _capability(without: tuple[str, ...]) -> str:
    """Return the line that hides capabilities; what is not offered may still work, and is not used."""
    if not without:
        return ""
    offered = (
        "IMAP4rev1 SASL-IR ID ENABLE IDLE NAMESPACE UIDPLUS UNSELECT CONDSTORE MOVE LITERAL+ SPECIAL-USE MULTIAPPEND"
    )
    return f"imap_capability = {' '.join(word for word in offered.split() if word not in without)}"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=5) as connection:
            return connection.recv(4) == b"* OK"
    except OSError:
        return False


def _write_certificate(folder: Path) -> None:
    """Write a certificate of our own for the host, valid while tests run."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Dovecot of a test")])
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
