"""The Python environment: uv (an installed one, or our own in `.boot`) and from it `.venv`, exactly as uv.lock says.

Runs before anything is installed: standard library only.
"""

import fcntl
import os
import re
import shutil
import sys
from pathlib import Path

from deploy import debian, say
from deploy.home import CHECKOUT
from deploy.processes import Argv, Failed, run, succeeds

BOOT = CHECKOUT / ".boot"
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OLDEST_UV = (0, 5)
SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def make_environment(*groups: str, title: str = "Python environment") -> None:
    """`groups` are uv's own options: --no-dev, --extra local. Whatever else is installed stays."""
    with Path(__file__).open() as lock, say.step(title):
        # Two runs in one checkout would otherwise make .boot at the same time.
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Only a missing or broken environment is made with the Python we run on; a good one is kept.
        usable = succeeds([PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"])
        python = [] if usable else ["--python", sys.executable]
        _sync([_uv(), "sync", "--frozen", "--inexact", *python, *groups])


def chromium() -> str | None:
    """The browser of this machine, which tests/browser looks at the documentation with."""
    return next((found for found in map(shutil.which, CHROMIUMS) if found), None)


def _sync(argv: list[str]) -> None:
    own = {"UV_PROJECT_ENVIRONMENT": str(VENV), "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
    env = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | own
    try:
        run(argv, cwd=CHECKOUT, env=env)
    except Failed as error:
        if "certificate" not in str(error):
            raise
        # uv brings its own list of authorities; a network that has one of its own is known to the system only.
        run(argv, cwd=CHECKOUT, env=env | {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"})


def _uv() -> str:
    installed = shutil.which("uv")
    if installed and _version(installed) >= OLDEST_UV:
        return installed
    for own in (BOOT / "bin" / "uv", BOOT / "lib" / "bin" / "uv"):
        if own.exists() and _version(str(own)) >= OLDEST_UV:
            return str(own)
    shutil.rmtree(BOOT, ignore_errors=True)
    return str(_install_uv())


def _version(uv: str) -> tuple[int, ...]:
    try:
        version = re.search(r"(\d+)\.(\d+)", run([uv, "--version"]))
    except (Failed, OSError):
        return ()
    return tuple(map(int, version.groups())) if version else ()


def _install_uv() -> Path:
    """By the first of these that works: venv, pip, and on Debian (whose python3 comes without both) its pip wheel."""
    if not _has("ensurepip") and not _has("pip") and debian.can_install():
        debian.install("python3-venv")
    if _has("ensurepip"):
        run([sys.executable, "-m", "venv", BOOT])
        _pip_install([BOOT / "bin" / "python", "-m", "pip"])
        return BOOT / "bin" / "uv"
    if _has("pip"):
        _pip_install([sys.executable, "-m", "pip"], "--target", BOOT / "lib")
        return BOOT / "lib" / "bin" / "uv"
    if debian.can_unpack():
        BOOT.mkdir()
        debian.unpack(BOOT, lambda _apt: ["python3-pip-whl"])
        wheel = next(BOOT.glob("usr/share/python-wheels/pip-*.whl"))
        _pip_install([sys.executable, wheel / "pip"], "--target", BOOT / "lib")
        return BOOT / "lib" / "bin" / "uv"
    raise Failed(
        "This Python can install nothing: it has neither venv nor pip.\n"
        "Install them (Debian, Ubuntu: apt-get install python3-venv) or uv itself, then try again."
    )


def _pip_install(pip: Argv, *options: str | Path) -> None:
    argv = [*pip, "install", "--quiet", "--disable-pip-version-check", *options, "uv"]
    try:
        run(argv)
    except Failed as error:
        # As in _sync: pip, too, looks at a list of its own.
        if "CERTIFICATE" not in str(error) or not SYSTEM_CERTIFICATES.exists():
            raise
        run([*argv, "--cert", SYSTEM_CERTIFICATES])


def _has(module: str) -> bool:
    return succeeds([sys.executable, "-c", f"import {module}"])
