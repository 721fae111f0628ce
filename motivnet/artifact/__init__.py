"""An artifact: a folder with a manifest, and the files that the manifest lists with size and SHA-256."""

from motivnet.artifact.folder import (
    ARTIFACTS,
    Artifact,
    check_free,
    has_manifest,
    list_reports,
    newest_artifact,
    open_artifact,
    own_files,
    own_files_but_reports,
    rewrite_manifest,
)

__all__ = [
    "ARTIFACTS",
    "Artifact",
    "check_free",
    "has_manifest",
    "list_reports",
    "newest_artifact",
    "open_artifact",
    "own_files",
    "own_files_but_reports",
    "rewrite_manifest",
]
