"""A server to deploy to: real systemd and a real sshd in namespaces of their own, reached over ssh on loopback."""

import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from deploy.local.child import free_port

BOOT = Path(__file__).with_name("boot.sh")
TARGETS = ("sysinit", "basic", "sockets", "shutdown", "umount", "network-online", "local-fs", "timers", "final")
SSHD = """
[Unit]
DefaultDependencies=no
[Service]
ExecStart=/usr/sbin/sshd -D -e -f /etc/machine/sshd_config
RuntimeDirectory=sshd
KillMode=process
"""
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey /etc/machine/host_key
AuthorizedKeysFile /etc/machine/authorized_keys
PermitRootLogin prohibit-password
UsePAM no
PidFile none
MaxStartups 50
"""
CLIENT = """
Host bot
    HostName 127.0.0.1
    Port {port}
    User root
    IdentityFile {key}
    IdentitiesOnly yes
    UserKnownHostsFile {known}
    StrictHostKeyChecking yes
    IdentityAgent none
"""


class Machine:
    """Boots on `with`, and again on `boot` after `cut_power`; its disks are below `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ssh_config = directory / "ssh_config"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._make_disks()
        self._make_keys()
        self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut_power()
        name = self.directory.name
        clean = f"mount -t cgroup2 none /mnt && find /mnt/{name} -depth -type d -exec rmdir {{}} +"
        subprocess.run(["unshare", "--mount", "sh", "-c", clean], timeout=30, check=False, capture_output=True)

    def boot(self) -> None:
        with (self.directory / "boot.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["unshare", "--mount", "sh", str(BOOT), str(self.directory)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + 30
        while self.run("systemctl is-active multi-user.target", check=False).strip() != "active":
            assert self._process.poll() is None, (self.directory / "boot.log").read_text()
            assert time.monotonic() < end, (self.directory / "boot.log").read_text()
            time.sleep(0.1)

    def cut_power(self) -> None:
        """Everything on it ends at once, as its process 1 does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(30)

    def run(self, command: str, *, check: bool = True) -> str:
        """What a command prints there, errors too."""
        done = subprocess.run(
            ["ssh", "-F", str(self.ssh_config), "-o", "ConnectTimeout=5", "bot", command],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}"
        return done.stdout

    def path(self, name: str) -> Path:
        """Where a path of its own lies for us."""
        return self.directory / name.removeprefix("/")

    def snapshot(self) -> Mapping[str, tuple[str, ...]]:
        """Every file under /opt and /etc, with time and mode."""
        told = self.run("find /opt /etc -printf '%p\\t%T@\\t%m\\t%l\\n'")
        return {line.split("\t")[0]: tuple(line.split("\t")[1:]) for line in told.splitlines()}

    def keep(self, names: Sequence[str], store: Path) -> None:
        """Puts what takes long to fetch where the next machine finds it."""
        for name in names:
            if self.path(name).exists() and not (store / name.rpartition("/")[2]).exists():
                store.mkdir(parents=True, exist_ok=True)
                shutil.move(self.path(name), store)

    def take(self, names: Sequence[str], store: Path) -> None:
        """What an earlier machine left, if any; of several at once one gets it."""
        for name in names:
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                shutil.move(store / name.rpartition("/")[2], self.path(name).parent)

    def _make_disks(self) -> None:
        for folder in ("opt", "root", "sbin", "var/cache", "var/log", "units"):
            (self.directory / folder).mkdir(parents=True)
        subprocess.run(["cp", "-a", "/etc", str(self.directory / "etc")], check=True, timeout=60)
        etc = self.directory / "etc"
        for old in ("init.d", *(path.name for path in etc.glob("rc?.d")), "fstab", "cron.d", "profile.d"):
            _remove(etc / old)  # nothing of this machine may start there
        for folder in ("systemd", "sysusers.d", "machine"):
            _remove(etc / folder)
            (etc / folder).mkdir()
        (etc / "systemd/system").mkdir()
        (etc / "hostname").write_text("bot\n")
        units = self.directory / "units"
        for target in TARGETS:
            (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        (units / "basic.target").write_text(
            "[Unit]\nDefaultDependencies=no\nWants=sockets.target timers.target\nAfter=sockets.target\n"
        )
        (units / "multi-user.target").write_text("[Unit]\nRequires=basic.target\nAfter=basic.target\n")
        (units / "multi-user.target.wants").mkdir()
        (units / "sockets.target.wants").mkdir()
        for unit in Path("/usr/lib/systemd/system").glob("systemd-journald*"):
            shutil.copy(unit, units)
        for socket in ("systemd-journald.socket", "systemd-journald-dev-log.socket"):
            (units / "sockets.target.wants" / socket).symlink_to(f"../{socket}")
        (units / "ssh.service").write_text(SSHD)
        (units / "multi-user.target.wants/ssh.service").symlink_to("../ssh.service")

    def _make_keys(self) -> None:
        inside, client = self.directory / "etc/machine", self.directory / "client_key"
        for key in (inside / "host_key", client):
            _keygen(["-t", "ed25519", "-N", "", "-f", str(key)])
        shutil.copy(f"{client}.pub", inside / "authorized_keys")
        (inside / "sshd_config").write_text(CONFIG.format(port=self._port))
        known = self.directory / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self._port} {(inside / 'host_key.pub').read_text()}")
        self.ssh_config.write_text(CLIENT.format(port=self._port, key=client, known=known))


def _keygen(arguments: Sequence[str]) -> None:
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True, timeout=30, stdin=subprocess.DEVNULL)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
