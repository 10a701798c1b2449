"""The bill of materials of an installation, as CycloneDX 1.5: python .ci/sbom.py [OUT.json].

Lists recam, all that it needs here with versions and licences, and the data files in the package
with their sha256.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import recam


def needed(name: str, found: dict[str, metadata.Distribution]) -> None:
    """Collect a distribution and what it needs without extras, as far as it is installed."""
    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        return
    try:
        found[key] = metadata.distribution(name)
    except metadata.PackageNotFoundError:  # for another system
        return
    for line in found[key].requires or []:
        if "extra ==" not in line:
            needed(re.split(r"[ ;<>=!~\[(]", line, maxsplit=1)[0], found)


def component(name: str, distribution: metadata.Distribution) -> dict[str, Any]:
    about = distribution.metadata
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in about.get_all("Classifier") or []
        if text.startswith("License ::")
    ]
    licence = about.get("License-Expression") or "; ".join(classifiers)
    licence = licence or (about.get("License") or "unknown").splitlines()[0]
    return {
        "type": "library",
        "name": name,
        "version": distribution.version,
        "purl": f"pkg:pypi/{name}@{distribution.version}",
        "licenses": [{"license": {"name": licence}}],
    }


def data_file(path: Path, root: Path) -> dict[str, Any]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "type": "file",
        "name": path.relative_to(root).as_posix(),
        "hashes": [{"alg": "SHA-256", "content": digest}],
    }


def main() -> None:
    found: dict[str, metadata.Distribution] = {}
    needed("recam", found)
    root = Path(recam.__file__).parent
    data = [p for p in sorted(root.rglob("*")) if p.is_file() and p.suffix not in (".py", ".pyc")]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component("recam", found.pop("recam"))},
        "components": [component(name, found[name]) for name in sorted(found)]
        + [data_file(path, root) for path in data],
    }
    text = json.dumps(bill, indent=1) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
