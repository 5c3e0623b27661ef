# SPDX-License-Identifier: MIT
"""The backups' alerts fire, and are silent, when they should: promtool runs them over made-up series."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

RULES = Path(__file__).resolve().parents[3] / "roles/services/catalog/restic/alerts.yml"
DAY = 86400
NOW = 2 * DAY  # promtool's clock begins at 0


def series(name: str, value: float, **labels: str) -> dict[str, str]:
    text = ",".join(f'{key}="{item}"' for key, item in {"host": "back", **labels}.items())
    return {"series": f"{name}{{{text}}}", "values": f"{value:.0f}x100"}


def job(local: float, away: float, rpo: float = DAY) -> list[dict[str, str]]:
    """A daily backup in two repositories, and when it last succeeded in each."""
    found = [series("mediaserver_backup_rpo_seconds", rpo, backup="app", service="app")]
    for repository, at, remote in (("local", local, 0), ("away", away, 1)):
        labels = {"backup": "app", "repository": repository, "service": "app"}
        found += [
            series("mediaserver_backup_last_success_timestamp_seconds", at, **labels),
            series("mediaserver_backup_due_timestamp_seconds", at + DAY, **labels),
            series("mediaserver_backup_repository_remote", remote, repository=repository),
        ]
    return found


CASES: dict[str, tuple[list[dict[str, str]], set[str]]] = {
    "all-well": (job(NOW - 7200, NOW - 7200), set()),
    "off-site-behind": (job(NOW - 7200, NOW - 1.9 * DAY), {"OffSiteCopyMissing"}),
    "local-behind": (job(NOW - 1.9 * DAY, NOW - 7200), {"BackupOverdue"}),
    "both-behind": (
        job(NOW - 1.9 * DAY, NOW - 1.9 * DAY),
        {"OffSiteCopyMissing", "BackupOverdue", "BackupTooOld"},
    ),
    "older-than-asked": (job(NOW - 7200, NOW - 7200, rpo=3600), {"BackupTooOld"}),
    "damaged": ([series("mediaserver_backup_repository_whole", 0, repository="local")], {"RepositoryDamaged"}),
    "unwise": ([series("mediaserver_backup_warning", 1, warning="backup-on-protected-disk")], {"BackupUnwise"}),
    "drill-too-slow": (
        [
            series("mediaserver_drill_last_duration_seconds", 90, service="app", repository="local"),
            series("mediaserver_drill_last_duration_seconds", 10, service="app", repository="away"),
            series("mediaserver_drill_rto_seconds", 60, service="app"),
        ],
        {"RestoreTooSlow"},
    ),
    "drill-failed": (
        [series("mediaserver_drill_last_run_successful", 0, service="app", repository="away")],
        {"BackupUnproved"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_alerts(promtool: str, tmp_path: Path, case: str) -> None:
    given, wanted = CASES[case]
    question = {
        "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{NOW}s",
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(wanted)],
    }
    test: dict[str, Any] = {"interval": "30m", "input_series": given, "promql_expr_test": [question]}
    (tmp_path / "test.yml").write_text(
        yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "30m", "tests": [test]})
    )
    command = [promtool, "test", "rules", str(tmp_path / "test.yml")]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
