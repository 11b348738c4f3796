"""`memristor plugins doctor` on configs that hide plugins, folders that are not there, and nothing wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.integration.conftest import Environment
else:
    Environment = Any

CONF = '[project.entry-points."memristor_plugins.conf"]\n'


def test_nothing_wrong_then_shadows_and_missing_folders(clean: Environment) -> None:
    done = clean.memristor("plugins", "doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert "nothing wrong" in done.stdout
    packages = (
        "packages = ['shadow_conf', 'shadow_conf.device', 'shadow_conf.model']\npackage-data = {'*' = ['*.yaml']}\n"
    )
    shadow = clean.package(
        "acme-shadow",
        packages + CONF + 'acme = "shadow_conf"\n',
        {
            "shadow_conf/__init__.py": "",
            "shadow_conf/device/ideal.yaml": "g_max: 1\n",
            "shadow_conf/model/vgg8.yaml": "width: 1\n",
        },
    )
    missing = clean.package("acme-missing", CONF + 'gone = "nowhere.conf"\n', {"gone_module.py": ""})
    clean.install(shadow, missing)
    found = json.loads(clean.memristor("plugins", "doctor", "--json").stdout)
    assert {(f["kind"], f["severity"], f["subject"]) for f in found} == {
        ("shadowed", "warning", "device/ideal"),
        ("shadowed", "warning", "model/vgg8"),
        ("unreachable", "error", "gone"),
    }
    assert any("hides the plugin of memristor-plugins" in f["message"] for f in found)
    text = clean.memristor("plugins", "doctor", columns=80)
    assert text.returncode == 1
    assert "3 problems" in text.stdout
    assert "\x1b" not in text.stdout
    assert max(len(line.rstrip()) for line in text.stdout.splitlines()) <= 80
