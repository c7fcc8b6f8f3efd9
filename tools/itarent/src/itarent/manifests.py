"""The Kubernetes manifests: each overlay is built by kustomize, validated strictly, and judged by others' tools."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import typer

from itarent.programs import compiled, own, packaged
from itarent.project import PROJECT
from local_servers.home import home_of, one_at_a_time, private_directory

OVERLAYS: Final = PROJECT / "deploy" / "kubernetes" / "overlays"
DOCKERFILE: Final = PROJECT / "deploy" / "Dockerfile"
KUBERNETES: Final = "1.36"
KUSTOMIZE: Final = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.2"
KUBE_SCORE: Final = "github.com/zegl/kube-score/cmd/kube-score@v1.20.0"

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
    kube_score = compiled("kube-score", KUBE_SCORE)
    return _runs(kube_score, "score", "--exit-one-on-warning", *ignored, *_built())


def checkov_agrees() -> bool:
    """On the manifests and the Dockerfile."""
    options = ("--quiet", "--compact", "--skip-download", "--skip-check", ",".join(NOT_ASKED_OF_CHECKOV))
    checkov = (packaged("checkov"), *options)
    manifests = _runs(*checkov, "--framework", "kubernetes", "--file", *_built())
    return _runs(*checkov, "--framework", "dockerfile", "--file", DOCKERFILE) and manifests


def _built() -> list[Path]:
    """The manifests of every overlay. One that cannot be built is empty, and its validation fails."""
    directory = private_directory(home_of(PROJECT) / "downloads" / "manifests")
    kustomize = _kustomize()
    with one_at_a_time(directory):
        return [_build(kustomize, overlay, directory) for overlay in sorted(OVERLAYS.iterdir())]


def _build(kustomize: tuple[str, str], overlay: Path, directory: Path) -> Path:
    built = directory / f"{overlay.name}.yaml"
    with built.open("w") as manifests:
        subprocess.run([*kustomize, overlay], stdout=manifests, check=False)  # noqa: S603 - a tool named above
    return built


def _is_valid(manifest: Path) -> bool:
    if not manifest.stat().st_size:
        typer.echo(f"The overlay {manifest.stem} cannot be built.")
        return False
    return _runs(own("kubernetes-validate"), "-k", KUBERNETES, "--strict", "--quiet", manifest)


def _kustomize() -> tuple[str, str]:
    """What builds an overlay: a kubectl that is there, else kustomize itself."""
    if kubectl := shutil.which("kubectl"):
        return kubectl, "kustomize"
    return compiled("kustomize", KUSTOMIZE), "build"


def _runs(*command: str | Path) -> bool:
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603 - tools named above
