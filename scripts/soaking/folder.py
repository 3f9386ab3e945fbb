"""The folder that a soak lives in; nothing of the integration is imported here."""

from __future__ import annotations

import json
from pathlib import Path
import shutil
import socket

HERE = Path(__file__).resolve().parent
INTEGRATION = HERE.parents[1] / "custom_components" / "openxpbms"
CONFIGURATION = """
homeassistant:
  name: Soak
  latitude: 47.0
  longitude: 8.0
  elevation: 430
  unit_system: metric
  time_zone: UTC
  currency: EUR
  country: CH
recorder:
input_boolean:
  valence_load:
    name: Valence load
    initial: false
  packs_load:
    name: Packs load
    initial: false
  bank_load:
    name: Bank load
    initial: false
switch:
  - platform: soak_relays
"""


def lay_out(folder: Path) -> None:
    """Make a configuration with the integration as it is now."""
    integrations = folder / "custom_components"
    integrations.mkdir(parents=True)
    (integrations / "__init__.py").touch()
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(INTEGRATION, integrations / INTEGRATION.name, ignore=ignored)
    shutil.copytree(HERE / "soak_relays", integrations / "soak_relays", ignore=ignored)
    (folder / "configuration.yaml").write_text(CONFIGURATION)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    server = {
        "server_port": port,
        "server_host": ["127.0.0.1"],
        "cors_allowed_origins": [],
        "login_attempts_threshold": -1,
        "ip_ban_enabled": True,
        "ssl_profile": "intermediate_v6",
        "use_x_frame_options": True,
        "created_at": "2026-01-01T00:00:00+00:00",
        "error": None,
        "error_message": None,
    }
    data = {"stable": server, "pending": None, "yaml_migration_done": True}
    content = {"version": 2, "minor_version": 2, "key": "http", "data": data}
    (folder / ".storage").mkdir()
    (folder / ".storage" / "http").write_text(json.dumps(content))
