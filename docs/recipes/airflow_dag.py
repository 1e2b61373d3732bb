"""Airflow: make the release, gate it again where it will be published, publish. No step repeats a release by itself."""

from __future__ import annotations

import shutil
from datetime import datetime

from airflow.decorators import dag, task
from gate_task import gate


@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, default_args={"retries": 0})
def synthetic_claims(out: str = "out/claims", policy: str = "healthcare-public", published: str = "published/claims") -> None:
    @task
    def check() -> str:
        return gate(f"{out}/internal/evidence.json", policy, results=f"{out}/internal/gate.junit.xml")

    @task
    def publish(sha256: str) -> str:
        shutil.copytree(f"{out}/public", published)  # the public folder only
        return sha256

    publish(check())


synthetic_claims()
