"""Settings: what a process starts with, what it refuses, and that no refusal shows a value."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.settings import (
    ApiSettings,
    ApplicationSettings,
    BackupSettings,
    CodecServerSettings,
    MigrationSettings,
    OpsSettings,
    ProcessSettings,
    SettingsError,
    WebhookSettings,
    WorkerSettings,
    load,
    load_or_exit,
)

PROJECT = Path(__file__).resolve().parents[2]
KEY = base64.b64encode(bytes(range(32))).decode()
GOOD = {
    "LIUSHUI_ENVIRONMENT": "local",
    "LIUSHUI_DATABASE_URL": "postgresql://liushui_app:hunter2hunter2@127.0.0.1:5432/liushui",
    "LIUSHUI_KEY_DATABASE_URL": "postgresql://liushui_keys_app:hunter3hunter3@127.0.0.1:5432/liushui_keys",
    "LIUSHUI_ERASURE_DATABASE_URL": "postgresql://liushui_erasures_app:hunter4hunter4@127.0.0.1:5432/liushui_erasures",
    "LIUSHUI_RETENTION_PUBLIC_KEY": "age1vu0je8ng7n7dvjq9dzm4xcu2c23t9ftm3tf0j2t85k6tr8z82ywsh78322",
    "LIUSHUI_MASTER_KEY": KEY,
    "LIUSHUI_INDEX_KEY": KEY,
    "LIUSHUI_PAYLOAD_KEYS": f"new:{KEY},old:{KEY}",
    "LIUSHUI_BANK_SIGNING_KEY": KEY,
    "LIUSHUI_SIMULATOR_URL": "http://127.0.0.1:8810",
    "LIUSHUI_SIMULATOR_PUBLIC_KEY": KEY,
    "LIUSHUI_API_PORT": "8000",
    "LIUSHUI_WORKER_HEALTH_PORT": "8001",
    "LIUSHUI_WEBHOOK_KEY": KEY,
    "LIUSHUI_CODEC_PORT": "8002",
    "LIUSHUI_CODEC_ORIGIN": "http://127.0.0.1:8002",
    "LIUSHUI_UI_ORIGIN": "http://127.0.0.1:8233",
    "LIUSHUI_OPS_URL": "http://127.0.0.1:8003",
}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_complete_environment_is_read_and_keys_arrive_as_bytes(variables: pytest.MonkeyPatch) -> None:
    settings = load(ApiSettings)
    assert settings.master_key.get_secret_value() == bytes(range(32))
    assert [key_id for key_id, _ in settings.payload_keys] == ["new", "old"]
    assert settings.database_url.get_secret_value().startswith("postgresql+asyncpg://liushui_app:")


def test_no_secret_shows_when_settings_are_printed(variables: pytest.MonkeyPatch) -> None:
    shown = f"{load(ApiSettings)!r} {load(WorkerSettings)} {load(CodecServerSettings)!r}"
    assert "hunter" not in shown
    assert KEY not in shown
    assert repr(bytes(range(32))) not in shown


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"LIUSHUI_ENVIRONMENT", "LIUSHUI_SIMULATOR_URL"}))
def test_production_does_not_start_without_each_required_variable(variables: pytest.MonkeyPatch, name: str) -> None:
    variables.setenv("LIUSHUI_ENVIRONMENT", "production")
    variables.setenv("LIUSHUI_SIMULATOR_URL", "https://bank.example")
    variables.delenv(name)
    asked: dict[str, type[ProcessSettings]] = {
        "LIUSHUI_CODEC_PORT": CodecServerSettings,
        "LIUSHUI_CODEC_ORIGIN": CodecServerSettings,
        "LIUSHUI_UI_ORIGIN": CodecServerSettings,
        "LIUSHUI_OPS_URL": CodecServerSettings,
        "LIUSHUI_WORKER_HEALTH_PORT": WorkerSettings,
    }
    with pytest.raises(SettingsError, match=f"{name} is not set; the process cannot start without it"):
        load(asked.get(name, ApiSettings))


def test_a_forgotten_environment_means_production(variables: pytest.MonkeyPatch) -> None:
    variables.delenv("LIUSHUI_ENVIRONMENT")
    variables.setenv("LIUSHUI_SIMULATOR_URL", "https://bank.example")
    assert load(ApplicationSettings).environment == "production"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("LIUSHUI_MASTER_KEY", "SECRETVALUE", "the key must be base64"),
        ("LIUSHUI_MASTER_KEY", base64.b64encode(b"SECRETVALUE").decode(), "must be 32 bytes in base64, not 11"),
        ("LIUSHUI_PAYLOAD_KEYS", "SECRETVALUE", "entry 1 must be id:base64"),
        ("LIUSHUI_PAYLOAD_KEYS", f"a:{KEY},a:{KEY}", "entry 2 repeats the id"),
        ("LIUSHUI_PAYLOAD_KEYS", f"a:{KEY},b:SECRETVALUE", "the key of entry 2 must be"),
        ("LIUSHUI_DATABASE_URL", "mysql://root:SECRETVALUE@x/y", "must be a postgresql:// URL"),
        ("LIUSHUI_DATABASE_URL", "postgresql://root:SECRETVALUE@x", "must name a host and a database"),
        ("LIUSHUI_DATABASE_URL", "postgresql://root:SECRETVALUE@x:port/y", "must name a host and a database"),
        ("LIUSHUI_ERASURE_DATABASE_URL", "postgresql://root:SECRETVALUE@x", "must name a host and a database"),
        ("LIUSHUI_RETENTION_PUBLIC_KEY", "age1SECRETVALUE", "must be a public key of age"),
        ("LIUSHUI_RETENTION_PUBLIC_KEY", "AGE-SECRET-KEY-1SECRETVALUE", "must be a public key of age"),
        ("LIUSHUI_API_PORT", "SECRETVALUE", "should be a valid integer"),
        ("LIUSHUI_API_PORT", "0", "should be greater than or equal to 1"),
        ("LIUSHUI_API_HOST", "0.0.0.0", "must be a loopback address"),  # noqa: S104
        ("LIUSHUI_SIMULATOR_URL", "ftp://SECRETVALUE", "must be an http:// or https:// address"),
        ("LIUSHUI_SIMULATOR_URL", "http://bank.example", "may be plain http:// only for a loopback address"),
        ("LIUSHUI_ENVIRONMENT", "SECRETVALUE", "should be 'local' or 'production'"),
    ],
)
def test_a_wrong_variable_is_named_in_a_sentence_that_never_shows_its_value(
    variables: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    variables.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as refusal:
        load(ApiSettings)
    assert sentence in str(refusal.value)
    assert "SECRETVALUE" not in f"{refusal.value!r}"
    assert refusal.value.__cause__ is None


def test_production_refuses_plain_http_to_a_bank(variables: pytest.MonkeyPatch) -> None:
    variables.setenv("LIUSHUI_ENVIRONMENT", "production")
    with pytest.raises(SettingsError, match="LIUSHUI_SIMULATOR_URL must be an https:// address in production"):
        load(WorkerSettings)


@pytest.mark.parametrize(("query", "accepted"), [("", False), ("?ssl=disable", False), ("?ssl=verify-full", True)])
def test_production_reaches_a_database_elsewhere_only_over_tls(
    variables: pytest.MonkeyPatch, query: str, accepted: bool
) -> None:
    variables.setenv("LIUSHUI_ENVIRONMENT", "production")
    for name in ("LIUSHUI_OWNER_DATABASE_URL", "LIUSHUI_KEY_OWNER_DATABASE_URL", "LIUSHUI_ERASURE_OWNER_DATABASE_URL"):
        variables.setenv(name, f"postgresql://o:p@db.example/liushui{query}")
    if accepted:
        assert load(MigrationSettings).environment == "production"
    else:
        with pytest.raises(SettingsError, match="LIUSHUI_OWNER_DATABASE_URL must ask for TLS"):
            load(MigrationSettings)


IN_PRODUCTION = {
    "LIUSHUI_ENVIRONMENT": "production",
    "LIUSHUI_CODEC_ORIGIN": "https://codec.ops.example",
    "LIUSHUI_UI_ORIGIN": "https://temporal.ops.example",
    "LIUSHUI_OPS_URL": "https://ops.ops.example",
}


def test_the_codec_server_starts_in_production_over_https_only(variables: pytest.MonkeyPatch) -> None:
    for name, value in IN_PRODUCTION.items():
        variables.setenv(name, value)
    assert load(CodecServerSettings).ops_url == "https://ops.ops.example"
    for name in set(IN_PRODUCTION) - {"LIUSHUI_ENVIRONMENT"}:
        with variables.context() as changed:
            changed.setenv(name, IN_PRODUCTION[name].replace("https", "http"))
            with pytest.raises(SettingsError, match=f"{name} must be an https:// address in production"):
                load(CodecServerSettings)


@pytest.mark.parametrize("origin", ["https://codec.elsewhere.example", "https://127.0.0.1:8002"])
def test_a_codec_server_that_no_browser_would_send_a_cookie_to_does_not_start(
    variables: pytest.MonkeyPatch, origin: str
) -> None:
    for name, value in (IN_PRODUCTION | {"LIUSHUI_CODEC_ORIGIN": origin}).items():
        variables.setenv(name, value)
    with pytest.raises(SettingsError, match="must be of one site"):
        load(CodecServerSettings)


def test_each_process_knows_only_the_secrets_it_needs() -> None:
    assert not {"owner_database_url", "key_owner_database_url"} & set(WorkerSettings.model_fields)
    assert not {"owner_database_url", "key_owner_database_url"} & set(ApiSettings.model_fields)
    opens = {"retention_key", "retention_database_url", "backup_key", "admin_database_url"}
    for settings in (WorkerSettings, ApiSettings, CodecServerSettings, WebhookSettings, BackupSettings):
        assert not opens & set(settings.model_fields), settings
    assert opens & set(OpsSettings.model_fields) == {"retention_key", "retention_database_url"}
    assert set(CodecServerSettings.model_fields) == {
        "environment",
        "log_level",
        "payload_keys",
        "codec_port",
        "codec_origin",
        "ui_origin",
        "ops_url",
    }


def test_an_entry_point_ends_with_plain_sentences_and_code_2(
    variables: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variables.delenv("LIUSHUI_MASTER_KEY")
    variables.delenv("LIUSHUI_INDEX_KEY")
    with pytest.raises(SystemExit) as ended:
        load_or_exit(ApiSettings)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "LIUSHUI_MASTER_KEY is not set; the process cannot start without it.",
        "LIUSHUI_INDEX_KEY is not set; the process cannot start without it.",
    ]


@pytest.mark.parametrize("command", [["worker.py"], ["-m", "uvicorn", "api.app:create_app", "--factory"]])
def test_a_process_without_its_settings_says_so_and_ends_with_code_2(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LIUSHUI_")}
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env={**environment, "LIUSHUI_ENVIRONMENT": "production"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "LIUSHUI_MASTER_KEY is not set; the process cannot start without it." in ended.stderr
    assert "Traceback" not in ended.stderr
