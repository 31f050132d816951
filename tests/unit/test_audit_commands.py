"""Arguments that are secrets by what the program or the function is: redacted, and seen by the second look when not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit import command_looks, scan
from ansible_collections.tradingflow.maintenance.plugins.module_utils._audit.rules import Rules, load

from tests.unit.test_audit_secrets import places, redacted

S, T = "hunter2SecretValue99", "correct-Horse7battery"
COMMANDS = [
    f"user.set_password('{S}')",
    f'setPassword("{S}")',
    f"check_password(user, '{S}')",
    f"make_password('{S}')",
    f"bcrypt.hashpw(b'{S}', salt)",
    f"chpasswd <<< 'u:{S}'",
    f"chpasswd <<<u:{S}",
    f"echo u:{S} | chpasswd",
    f"echo 'u:{S} {T}' | sudo chpasswd",
    f"printf 'u:{S}\\n' | /usr/sbin/chpasswd",
    f'echo -n "{S}" | docker login --password-stdin reg',
    f"echo {S} | passwd --stdin bob",
    f"(echo {S}; echo {S}) | smbpasswd -s -a bob",
    f"smbpasswd -a bob <<< {S}",
    f"kinit bob <<< {S}",
    f"echo {S} | cryptsetup luksOpen /dev/sda x -",
    f"htpasswd -b file user {S}",
    f"/usr/bin/htpasswd -bc /etc/nginx/.htpasswd user {S}",
    f"htpasswd -nbB user {S}",
    f"htpasswd -c -b /etc/f user '{S}'",
    f"openssl enc -aes-256-cbc -k {S} -in a -out b",
    f"openssl enc -aes-256-cbc -in a -pass pass:{S}",
    f"openssl rsa -in k.pem -passin pass:{S} -out x",
    f"openssl dgst -sha256 -hmac {S} file",
    f"openssl mac -macopt key:{S} HMAC",
    f"tar cz x | openssl enc -e -k {S}",
    f"smbclient //h/share -U bob%{S}",
    f"rpcclient -U 'bob%{S}' host",
    f"curl -u user:{S} https://h/",
    f"curl -uuser:{S} https://h/",
    f"curl -U user:{S} -x proxy https://h/",
    f"mysql -p{S} -u root",
    f"mysql -u root -p'{S}' db",
    f"mysqladmin -u root password {S}",
    f"sshpass -p {S} ssh h",
    f"sshpass -p{S} ssh -p 2222 h",
    f"redis-cli -h h -a {S} ping",
    f"docker login -p {S} -u u reg",
    f"docker login -u u -p{S} reg",
    f"docker login -u u -p {S} a; docker login -u u -p {T} b",
    f"useradd -m -p {S} bob",
    f"sudo: bob : TTY=pts/0 ; PWD=/home/bob ; USER=root ; COMMAND=/usr/sbin/usermod -p {S} bob",
    f"7z a -p{S} x.7z f",
    f"zip -P {S} x.zip f",
    f"zip -e -P{S} x.zip f",
    f"ansible-vault encrypt_string '{S}' --name x",
    f"vault login {S}",
    f"rabbitmqctl add_user bob {S}",
    f"rabbitmqctl -n r change_password bob {S}",
    f"snmpget -v3 -u u -A {S} -X {T} host",
    f"mongosh -u u -p {S}",
    f"cqlsh -u u -p {S} h",
    f"lftp -u bob,{S} ftp://h",
    f"wpa_passphrase net {S}",
    # As lists, of JSON and of Python.
    f'["htpasswd", "-b", "/etc/f", "bob", "{S}"]',
    f"['openssl', 'enc', '-k', '{S}']",
    f'{{"cmd": ["curl", "-u", "bob:{S}", "https://h"]}}',
    f"run(['/usr/bin/redis-cli', '-a', '{S}'])",
    f'exec ["sshpass","-p","{S}","ssh","h"]',
    # What ends a command for a shell ends none within an argument.
    f'ldapsearch -D cn=admin "(&(uid=x)(cn=y))" -w {S}',
    f'ldapsearch -D cn=admin "(|(uid=x) (cn=y))" -w {S}',
    f'mongodump --uri "mongodb://h/?a=1&b=2" -u bob -p {S}',
    f'sqlcmd -Q "select 1; select 2" -U sa -P {S}',
    f"sqlcmd -Q 'select 1 ; select 2' -U sa -P {S}",
    f'redis-cli --eval "a;b" -a {S}',
    f'mosquitto_pub -m "a;b" -P {S}',
    f"mosquitto_pub -m a;b -P {S}",
    f'docker login "https://r/?a&b" -u x -p {S}',
    f'["ldapsearch","(&(uid=x))","-w","{S}"]',
    f'["sqlcmd", "-Q", "select 1 ; select 2", "-U", "sa", "-P", "{S}"]',
    f'mysql -e "FLUSH PRIVILEGES;" -uroot -p{S}',
    # In one word with its option, and options before "login".
    f"ldapsearch -x -D cn=a -w{S} -b dc=x",
    f"sqlcmd -U sa -P{S}",
    f"ipmitool -I lanplus -H h -U a -P{S} power status",
    f"snmpwalk -v2c -c{S} h",
    f"snmpget -v3 -u u -A{S} -X{T} h",
    f'["ldapsearch","-w{S}"]',
    f"docker --config x --host tcp://x login -u bob -p {S} reg",
    f"docker --config /x -H tcp://x:2375 login -u bob -p{S} reg",
    f'["docker","--config","x","login","-u","bob","-p","{S}"]',
    f"oc --config=x login h -u bob -p {S}",
    f"helm --debug registry login -u b -p {S} reg",
    f"echo {S} | docker --config x login -u b --password-stdin",
    # Oracle's programs, also in lists.
    f"sqlplus -S -R 3 scott/{S}@db @x.sql",
    f'sqlplus -S "scott/{S}@db"',
    f'["sqlplus", "-S", "scott/{S}@db"]',
    f'["/opt/oracle/bin/sqlplus","-S","scott/{S}"]',
    f'["expdp","scott/{S}@db","directory=x"]',
    f'["impdp", "directory=x", "userid=scott/{S}"]',
    f'["rman", "target", "sys/{S}@db"]',
    f"['rman','target=/','catalog','rco/{S}@c']",
    f"rman target sys/{S}@db catalog rco/{T}@c",
    f'["smbclient", "//h/share", "-U", "bob%{S}"]',
]
COMMANDS += [
    # As auditd has them.
    f'type=EXECVE msg=audit(1.2:3): argc=5 a0="sshpass" a1="-p" a2="{S}" a3="ssh" a4="h"',
    f'a0="mysql" a1="-uroot" a2="-p{S}"',
    f'a0="redis-cli" a1="-a" a2="{S}"',
    f'a0="/usr/bin/docker" a1="login" a2="-u" a3="b" a4="-p" a5="{S}"',
    f'a0="sqlplus" a1="scott/{S}@db"',
    f'a0="curl" a1="-u" a2="bob:{S}"',
    f'a0="htpasswd" a1="-b" a2="f" a3="bob" a4="{S}"',
]
#: What the second look does not see, and redaction does.
ALSO = [
    f"zip -e -p {S} x f",
    f"ldapsearch -p {S}",
    f"redis-cli\n-a {S}",
    f"redis-cli -h h \\\n  -a {S}",
    f"sshpass\n-p {S}",
]
#: Digits are a password where the option is no port; what is left of them is found by their place.
DIGITS = [
    "sshpass -p 12345 ssh -p 2222 root@h",
    "sshpass -v -p12345 ssh h",
    "mysql -uroot -p12345",
    "mysqladmin -u root password 12345",
    "redis-cli -p 6379 -a 12345",
    "ldapsearch -p 3389 -w 12345",
    "docker login -u b -p 12345 reg; docker run -p 8080 -p 80:8080 app",
    "docker login -u b -p12345 reg",
    "zip -P 12345 x f",
    "7z a -p12345 x f",
    "useradd -p 12345 bob",
    "snmpget -v3 -A 12345 h",
    "mongosh -u u -p 12345",
    "curl -u bob:1234567 https://h",
    "smbclient -U bob%12345 //h/s",
    "vault login 12345",
]
HARMLESS = [
    "docker run -p 8080:80 app; curl -u bob https://h/; openssl s_client -connect h:443",
    "htpasswd -c /etc/f bob; unzip -p release.zip README; zip -r x.zip folder",
    "useradd -m -s /bin/bash bob; usermod -aG docker bob; new user: name=bob, UID=1001, shell=/bin/bash",
    "sudo:      bob : TTY=pts/0 ; PWD=/home/bob ; USER=root ; COMMAND=/usr/bin/apt-get update",
    "pam_unix(chpasswd:chauthtok): password changed for bob",
    "passwd[812]: password for bob changed by root",
    "get_password('database/prod'); read_secret('app'); has_token('x')",
    "set_password() of bob; check_password() said no (bcrypt)",
    "make_order('XNYS', 100); set_limit('account-77'); check_token_bucket(bucket, 'orders')",
    "echo done | tee -a /var/log/job.log; printf '%s' 1 | wc -l",
    "mysql -u root -h db -e 'select 1'; mysql  Ver 8.0.36 for Linux on x86_64",
    "redis-cli -h cache -p 6379 ping; snmpwalk -v3 -l authPriv host",
    "openssl 3.0.15-1~deb12u1 amd64; docker-ce 5:27.3.1-1; curl 7.88.1; zip 3.0-13",
    "curl: (7) Failed to connect to h port 443 after 3 ms: Connection refused",
    "sshpass -f file ssh -p 2222 h; sshpass -e scp -P 22022 a h:; ldapsearch -p 3389 -h h",
    "curl -u $API_USER:$API_PASSWORD https://h/; docker login -u bob -p $REGISTRY_PASSWORD",
    "Accepted publickey for bob from 192.0.2.7 port 52211 ssh2: ED25519 SHA256:x",
    "vault: post-unseal setup complete; vault login -method=oidc; helm upgrade app -p 3",
    "net ifindex 3 -U 100%; smbclient version 4.17.12",
    "sqlplus / as sysdba @/opt/oracle/scripts/start.sql; sqlplus /nolog; rman target / log /var/log/rman/backup.log",
    "kinit: Cannot contact any KDC; gpg: Good signature from maintainer; sudo -S true",
]


@pytest.fixture(scope="module")
def rules() -> Rules:
    return load(None, b"k" * 32)


@pytest.mark.parametrize("text", [*COMMANDS, *ALSO])
def test_no_secret_of_a_command_is_left(rules: Rules, text: str) -> None:
    for place, (form, given) in places(text).items():
        found = redacted(rules, given, form)
        assert not [each for each in (S, T) if each.encode() in found], (place, found)
        assert scan.text_of(found) == [], (place, found)
        assert redacted(rules, found, form) == found, place
        if place == "json":
            json.loads(found)


@pytest.mark.parametrize("text", COMMANDS)
def test_the_second_look_sees_it_when_it_is_left(text: str) -> None:
    assert scan.text_of(text.encode())
    assert scan.text_of(f"2026-10-01T00:00:00Z INFO {text}\n".encode())
    assert scan.text_of(json.dumps({"event": text}).encode() + b"\n")


@pytest.mark.parametrize("text", DIGITS)
def test_digits_are_a_password_where_they_are_no_port(rules: Rules, text: str) -> None:
    for place, (form, given) in places(text).items():
        found = redacted(rules, given, form)
        assert b"12345" not in found, (place, found)
        assert all(port in found for port in re.findall(rb"2222|6379|3389|8080|80:8080", given)), (place, found)
        assert scan.text_of(found) == [], (place, found)
    assert scan.text_of(text.encode())
    assert scan.text_of(json.dumps({"event": text}).encode() + b"\n")


class Counted:
    """A pattern of which is counted how many words it takes out of a text."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern, self.count = pattern, 0

    def search(self, text: bytes, begin: int, end: int) -> re.Match[bytes] | None:
        self.count += 1
        return self._pattern.search(text, begin, end)

    def finditer(self, text: bytes) -> Iterator[re.Match[bytes]]:
        for match in self._pattern.finditer(text):
            self.count += 1
            yield match


def test_a_line_of_many_names_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As anybody who may ask a server for something can have one written."""
    words = Counted(command_looks._WORDS)
    monkeypatch.setattr(command_looks, "_WORDS", words)
    line = b"GET /?q=" + b"oc,zip," * 300
    assert scan.text_of(line + b"\n") == []
    assert 0 < words.count < 2000
    assert scan.text_of(line + f"sshpass -p {S}\n".encode()) == ["password of a program"]


def test_more_commands_than_can_be_looked_at_are_said() -> None:
    assert scan.text_of(b"mysql," * 10_000 + f"sshpass -p {S}\n".encode()) == ["more commands than can be looked at"]


@pytest.mark.parametrize("command", [["sshpass", "-p", S], ["sqlplus", f"scott/{S}"], ["smbclient", "-U", f"bob%{S}"]])
def test_a_list_over_several_lines_is_looked_at_as_one(rules: Rules, command: list[str]) -> None:
    text = json.dumps({"cmd": [*command, "x"]}, indent=2)
    for place in ("csv", "journal"):
        form, given = places(text)[place]
        assert S.encode() not in redacted(rules, given, form), place


@pytest.mark.parametrize("text", HARMLESS)
def test_a_command_without_a_secret_stays(rules: Rules, text: str) -> None:
    for place, (form, given) in places(text).items():
        counts: dict[str, int] = {}
        assert redacted(rules, given, form, counts) == given, place
        assert counts == {}
        assert scan.text_of(given) == [], place
