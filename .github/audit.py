"""Look for known vulnerabilities of pinned packages by pip-audit, and fail where it cannot tell.

    python3 .github/audit.py requirements.lock

Without a network, pip-audit reports that nothing was found. So a package that is known to be vulnerable is asked for as
well: where that is not reported, or a package could not be looked up, the audit counts as failed. Exit codes: 0 nothing
is known, 1 something is, 2 it cannot be told.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

KNOWN = "jinja2==2.10"
"""Has had advisories since 2019, such as CVE-2019-10906."""


def audit(requirements: str | Path) -> list[dict[str, Any]]:
    """Return what pip-audit says about each package of a file with exact versions."""
    command = ["pip-audit", "--requirement", str(requirements), "--no-deps", "--disable-pip", "--format", "json",
               "--progress-spinner", "off"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return list(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError):
        sys.stderr.write(done.stderr[-2000:])
        return []


def main() -> int:
    """Print what is known and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder, "known.txt")
        canary.write_text(f"{KNOWN}\n", encoding="utf-8")
        if not any(package.get("vulns") for package in audit(canary)):
            print(f"The audit cannot tell: it does not know of {KNOWN}, so it reaches no list of advisories.")
            return 2
    packages = audit(sys.argv[1])
    skipped = [f"{package['name']} ({package['skip_reason']})" for package in packages if "skip_reason" in package]
    found = [(package, one) for package in packages for one in package.get("vulns", ())]
    for package, one in found:
        fixed = ", ".join(one.get("fix_versions", ())) or "no version yet"
        print(f"{package['name']} {package['version']}: {one['id']}, fixed in {fixed}")
    if found:
        return 1
    if skipped or not packages:
        print(f"The audit cannot tell about {len(skipped) or 'all'} packages: {'; '.join(skipped[:10])}")
        return 2
    print(f"{len(packages)} packages, no known vulnerability.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
