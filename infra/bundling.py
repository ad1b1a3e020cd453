"""Builds the bundle that all functions share: dependencies, handlers, `freshness/`, and the compiled policy.

pip installs the dependencies for Lambda's platform, without Docker. For this machine they are copied from the
environment that runs this, if it has the locked versions. Bundles and dependencies are cached under a hash of their
inputs, so that changing a handler does not install them again.
"""

import hashlib
import inspect
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Self

from freshness.policy import compiled

BOTOCORE_SERVICES = ("dynamodb", "events", "sqs", "ssm", "stepfunctions")
"""The services whose API descriptions are bundled. botocore has 27 MB of them, for all AWS services."""
SUFFIXES = (".py", ".html", ".css", ".js")
"""The files that are bundled: modules, and the templates of the page."""
ELSEWHERE = ("cli", "estimate", "functions", "infra", "stack_access")
"""Folders of the installed package that are not bundled with it: what does not run in Lambda, and the handlers."""

KEPT = 4
"""How many folders of the same kind and target are kept: each policy of a stack makes its own bundle."""


@dataclass(frozen=True)
class Sources:
    """Where the code of the functions is: the folder of their handlers, and the package that these share."""

    handlers: Path
    package: Path

    @classmethod
    def of_this_package(cls) -> Self:
        """Return the sources in the repository, or in the package that was installed from a wheel."""
        package = Path(compiled.__file__).parents[1]
        installed = package / "functions"
        return cls(installed if installed.is_dir() else package.parent, package)

    def files(self) -> dict[Path, bytes]:
        """Return the contents of the files that are bundled, by their paths in the bundle."""
        found = {path.relative_to(self.handlers): path for path in self.handlers.glob("*.py")}
        for path in self.package.rglob("*"):
            if path.suffix in SUFFIXES and path.relative_to(self.package).parts[0] not in ELSEWHERE:
                found[path.relative_to(self.package.parent)] = path
        return {name: found[name].read_bytes() for name in sorted(found)}


class BundlingError(Exception):
    """The bundle could not be built. The message says why and what to do."""


@dataclass(frozen=True)
class Target:
    """The platform that a bundle runs on, with the options that make pip install packages for it."""

    name: str
    cache_tag: str
    """The platform's `sys.implementation.cache_tag`, which says whose bytecode its interpreter can read."""
    interpreter: str
    """The name of the command that runs the platform's Python."""
    pip_options: tuple[str, ...]

    @property
    def compiler(self) -> str | None:
        """Return the path of an interpreter whose bytecode the target can read, `None` if this machine has none."""
        return sys.executable if self.cache_tag == sys.implementation.cache_tag else shutil.which(self.interpreter)


LAMBDA = Target(
    "lambda-arm64-cpython-314",
    "cpython-314",
    "python3.14",
    (
        # pip does not infer older tags from newer ones, so each tag that Lambda's Amazon Linux 2023 supports is listed.
        *("--platform", "manylinux_2_28_aarch64"),
        *("--platform", "manylinux_2_17_aarch64"),
        *("--platform", "manylinux2014_aarch64"),
        *("--implementation", "cp", "--python-version", "3.14", "--only-binary", ":all:"),
    ),
)
"""Lambda's runtime python3.14 on arm64."""

THIS_MACHINE = Target(
    f"local-{platform.machine()}-{sys.implementation.cache_tag}", str(sys.implementation.cache_tag), "python3", ()
)
"""This machine, and the interpreter that runs this module."""


def build_for(policy: Path, builds: Path, *, local: bool) -> Path:
    """Build the bundle of this package's functions, for Lambda or, if it is `local`, for this machine.

    Raises:
        PolicyError, BundlingError: as `build`.
    """
    return build(Sources.of_this_package(), policy, THIS_MACHINE if local else LAMBDA, builds)


def build(sources: Sources, policy: Path, target: Target, builds: Path) -> Path:
    """Build the bundle of the functions with the policy file `policy`, and return its folder.

    The bundle is a folder in `builds`, which also holds the cache. Its name ends with a hash of all that it is made of.

    Raises:
        PolicyError: the policy is not valid.
        BundlingError: pip could not install the dependencies.
    """
    # Before the dependencies, which take longer, so that a mistake is shown at once.
    compiled_policy = compiled.compiled(policy)
    builds.mkdir(parents=True, exist_ok=True)
    dependencies = _dependencies(sources.handlers / "requirements.lock", target, builds)
    files = sources.files()
    contents = [name.as_posix().encode() + b"\n" + content for name, content in files.items()]
    contents.append(compiled_policy.encode())
    bundle = builds / f"bundle-{target.name}-{_digest(dependencies.name.encode(), *contents)}"
    if not bundle.exists():
        with tempfile.TemporaryDirectory(dir=builds) as scratch:
            unfinished = Path(scratch, "bundle")
            # Not copied: they take 35 MB.
            shutil.copytree(dependencies, unfinished, copy_function=os.link)
            for name, content in files.items():
                (unfinished / name).parent.mkdir(parents=True, exist_ok=True)
                (unfinished / name).write_bytes(content)
            (unfinished / compiled.FILE).write_text(compiled_policy, encoding="utf-8")
            _compile(unfinished, target, {name.parts[0] for name in files})
            _make_readable(unfinished)
            _keep(unfinished, bundle)
    return bundle


def archive(bundle: Path) -> Path:
    """Return a ZIP file of a bundle, next to its folder. `cdk deploy` takes five times as long to make one."""
    finished = bundle.with_suffix(".zip")
    if not finished.exists():
        with tempfile.TemporaryDirectory(dir=bundle.parent) as scratch:
            unfinished = Path(scratch, "bundle.zip")
            # A ZIP file cannot say that a file is from before 1980, as some packages' are.
            with zipfile.ZipFile(
                unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=1, strict_timestamps=False
            ) as file:
                for path in sorted(bundle.rglob("*")):
                    file.write(path, path.relative_to(bundle))
            unfinished.rename(finished)
    return finished


def _dependencies(requirements: Path, target: Target, builds: Path) -> Path:
    """Return the folder with the pruned packages of `requirements`. They are installed only if they changed."""
    has_bytecode = str(target.compiler is not None).encode()
    steps = "".join(inspect.getsource(step) for step in (_copy, _install, _prune, _compile)) + repr(BOTOCORE_SERVICES)
    inputs = (requirements.read_bytes(), repr(target).encode(), has_bytecode, steps.encode())
    dependencies = builds / f"dependencies-{target.name}-{_digest(*inputs)}"
    if not dependencies.exists():
        print(f"Installing the functions' dependencies ({target.name}) ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(dir=builds) as scratch:
            unfinished = Path(scratch, "dependencies")
            if target != THIS_MACHINE or not _copy(requirements, unfinished):
                _install(requirements, target, unfinished)
            _prune(unfinished)
            _compile(unfinished, target, {"."})
            _keep(unfinished, dependencies)
    return dependencies


def _copy(requirements: Path, folder: Path) -> bool:
    """Copy the packages from the environment that runs this, and return whether it has all, in the locked versions."""
    packages = []
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", requirements.read_text(encoding="utf-8"), re.MULTILINE):
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            return False
        record = package.read_text("RECORD")
        if package.version != version or not record:
            return False
        packages.append((package, record))
    folder.mkdir()
    for package, record in packages:
        parts = {re.split("[/,]", line, maxsplit=1)[0] for line in record.splitlines()}
        for part in parts - {"..", "__pycache__"}:
            source = Path(str(package.locate_file(part)))
            if source.is_dir():
                shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                shutil.copyfile(source, folder / part)
    return True


def _install(requirements: Path, target: Target, folder: Path) -> None:
    # --no-deps: pip would evaluate markers such as "python_version < 3.13" for this interpreter, not the target's.
    options = ("--quiet", "--no-input", "--no-deps", "--no-compile", "--require-hashes", *target.pip_options)
    files = ("--requirement", str(requirements), "--target", str(folder))
    command = (sys.executable, "-m", "pip", "install", *options, *files)
    pip = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
    if pip.returncode:
        errors = [line for line in pip.stderr.splitlines() if "ERROR" in line] or pip.stderr.splitlines()
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"it exited with status {pip.returncode}"
        raise BundlingError(
            f"pip could not install {requirements} for {target.name}: {reason}. "
            "Check that the package index can be reached and has each version named there, then try again."
        )


def _prune(dependencies: Path) -> None:
    """Delete what no function uses: commands, package metadata, tests, and API descriptions of other services."""
    unused = [path for pattern in ("bin", "*.dist-info", "*/tests") for path in dependencies.glob(pattern)]
    unused += [path for path in dependencies.glob("botocore/data/*/") if path.name not in BOTOCORE_SERVICES]
    for folder in unused:
        shutil.rmtree(folder)


def _compile(folder: Path, target: Target, parts: Iterable[str]) -> None:
    """Compile the modules in these parts of a folder, if this machine has the target's Python.

    Lambda cannot store bytecode, and would compile at each cold start, which is two thirds of its time.
    """
    if target.compiler is None:
        return
    # Unchecked, because pip and `cdk` do not preserve the modification times that a check compares.
    options = ("-q", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", "/var/task")
    paths = [str(folder / part) for part in sorted(parts)]
    # Not checked: a package may have modules for a different Python, which are never imported.
    subprocess.run([target.compiler, "-m", "compileall", *options, *paths], check=False)  # noqa: S603


def _make_readable(folder: Path) -> None:
    """Let everyone read all files: Lambda runs as another user, and a umask may have kept others out."""
    for path in (folder, *folder.rglob("*")):
        is_executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if is_executable else 0o644)


def _keep(unfinished: Path, finished: Path) -> None:
    """Rename a finished folder atomically, and delete all but the latest of the same kind and target."""
    os.utime(unfinished)
    try:
        unfinished.rename(finished)
    except OSError:
        # Another process may have built the same meanwhile.
        if not finished.exists():
            raise
    found = finished.parent.glob(f"{finished.name.rpartition('-')[0]}-*")
    folders = [folder for folder in found if folder.suffix != ".zip"]
    for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime)[:-KEPT]:
        folder.with_suffix(".zip").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _digest(*parts: bytes) -> str:
    # Hash each part first, so that different parts that join to the same bytes have different digests.
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]
