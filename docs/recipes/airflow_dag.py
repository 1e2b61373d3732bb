"""Airflow: gate a release again where it is published, then publish it. No step repeats a release by itself."""

from __future__ import annotations

import shutil
from datetime import datetime

from airflow.sdk import dag, task  # Airflow 3; with Airflow 2: from airflow.decorators import dag, task
from gate_task import gate


@task
def check(out: str, policy: str) -> str:
    return gate(f"{out}/internal/evidence.json", policy, results=f"{out}/internal/gate.junit.xml")


@task
def publish(sha256: str, out: str, published: str) -> str:
    shutil.copytree(f"{out}/public", published)  # the public folder only
    return sha256


# The arguments are parameters of a run. Airflow fills them in where a task is called, not inside a task's body.
@dag(schedule=None, start_date=datetime(2026, 1, 1), catchup=False, default_args={"retries": 0})
def synthetic_claims(out: str = "out/claims", policy: str = "healthcare-public", published: str = "published/claims") -> None:
    publish(check(out, policy), out, published)


synthetic_claims()
