"""What Fieldpost is made of: known vulnerabilities, the bill of materials, and licences."""
