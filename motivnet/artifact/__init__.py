"""An artifact: a folder with a manifest, and the files that it lists with size and SHA-256."""

from motivnet.artifact.folder import (
    ARTIFACTS,
    Artifact,
    has_manifest,
    newest_artifact,
    open_artifact,
)
from motivnet.artifact.writing import (
    add_file,
    add_reports,
    check_addable,
    copy_files,
    link_files,
    own_files,
    own_files_except_reports,
    rewrite_manifest,
)

__all__ = [
    "ARTIFACTS",
    "Artifact",
    "add_file",
    "add_reports",
    "check_addable",
    "copy_files",
    "has_manifest",
    "link_files",
    "newest_artifact",
    "open_artifact",
    "own_files",
    "own_files_except_reports",
    "rewrite_manifest",
]
