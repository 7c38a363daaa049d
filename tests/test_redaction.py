"""No secret in a text: of addresses, of queries, of variables."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tiny_study import here

from suite.cli import app
from suite.redaction import redacted
from suite.run.in_process import attempt
from suite.study.cells import Job


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("to http://user:SECRET@127.0.0.1:9/api failed", "to http://127.0.0.1:9/api failed"),
        ("postgresql+psycopg2://user:SECRET@host/db", "postgresql+psycopg2://host/db"),
        ("https://SECRET@host/x and ftp://u:SECRET@b", "https://host/x and ftp://b"),
        ("http://u:SEC/RET@host:9/x", "http://host:9/x"),
        ("http://u:SEC@RET#?@host/x", "http://host/x"),
        ("http://u:@host", "http://host"),
        ("http://host/x?token=SECRET&b=1", "http://host/x?token=***&b=1"),
        ("http://host/x?b=1&api_key=SECRET#end", "http://host/x?b=1&api_key=***#end"),
        ("mssql+pyodbc:///?odbc_connect=DRIVER%3D1%3BPWD%3DSECRET", "mssql+pyodbc:///?odbc_connect=***"),
        ("host=h user=u password=SECRET dbname=d", "host=h user=u password=*** dbname=d"),
        ("SERVER=h;PWD=SECRET;x=1", "SERVER=h;PWD=***;x=1"),
        ("SERVER=h;AccountKey=SECRET==;x=1", "SERVER=h;AccountKey=***;x=1"),
        ("https://host/x?a=1&pass=SECRET", "https://host/x?a=1&pass=***"),
        ("HF_TOKEN=SECRET, login(token='SECRET')", "HF_TOKEN=***, login(token='***')"),
        ("PRIVATE-TOKEN: SECRET", "PRIVATE-TOKEN: ***"),
        ("Authorization: token SECRET", "Authorization: token ***"),
        ("{'Authorization': b'Basic SECRET'}", "{'Authorization': b'Basic ***'}"),
        ("connect(password=b'SECRET')", "connect(password=b'***')"),
        ("user:SECRET@[::1]:5000/db", "user:***@[::1]:5000/db"),
        ("password: SECRET", "password: ***"),
        ("password = SECRET", "password = ***"),
        ('{"password": "SEC RET", "x": 1}', '{"password": "***", "x": 1}'),
        ("{'api_key': 'SECRET'}", "{'api_key': '***'}"),
        ("connect(access_token='SECRET', x=1)", "connect(access_token='***', x=1)"),
        ("connect(password=SECRET, x=1)", "connect(password=***, x=1)"),
        ("connect(password=None, secret='')", "connect(password=None, secret='')"),
        ("no answer from user:SECRET@host", "no answer from user:***@host"),
        ("user:SECRET@host.org:5000/db", "user:***@host.org:5000/db"),
        ("http://[::1]:5000/x@y", "http://[::1]:5000/x@y"),
        ("http://[::1]/x@y", "http://[::1]/x@y"),
        ("http://u:SECRET@[::1]:5000/x", "http://[::1]:5000/x"),
        ("suite compare a:b@HEAD:x results/a:study@HEAD", "suite compare a:b@HEAD:x results/a:study@HEAD"),
        (
            "class_token=false token: cls; Password authentication failed",
            "class_token=false token: cls; Password authentication failed",
        ),
        ("{'Authorization': 'Basic SECRET=='}", "{'Authorization': 'Basic ***'}"),
        ("http://127.0.0.1:8080/a@b", "http://127.0.0.1:8080/a@b"),
        ("sqlite:////srv/me@here/mlflow.db", "sqlite:////srv/me@here/mlflow.db"),
        ("at study:words@ and @host", "at study:words@ and @host"),
        ("quickstart@ab12:cropr, mail me@x.org", "quickstart@ab12:cropr, mail me@x.org"),
        ("--option class_token=false tokens_fewest=17", "--option class_token=false tokens_fewest=17"),
    ],
)
def test_addresses_have_no_login_and_queries_no_secret(text: str, expected: str) -> None:
    """Whatever characters a password has; other text stays as it is, and nothing changes the second time."""
    assert redacted(text, {}) == expected
    assert redacted(expected, {}) == expected


@pytest.mark.parametrize(
    ("variable", "value", "text", "expected"),
    [
        ("MLFLOW_TRACKING_PASSWORD", "s3cret", "refused s3cret", "refused ***"),
        ("MLFLOW_TRACKING_TOKEN", "abcd", "Bearer abcd", "Bearer ***"),
        ("RAY_AUTH_TOKEN", "abcd", "abcd!", "***!"),
        ("AWS_SECRET_ACCESS_KEY", "abcd", "abcd", "***"),
        ("MLFLOW_TRACKING_URI", "http://u:p%40ss@h", "for p%40ss or p@ss", "for *** or ***"),
        ("MLFLOW_TRACKING_PASSWORD", "p@ss/word", "for p%40ss%2Fword", "for ***"),
        ("MLFLOW_TRACKING_URI", "postgresql://h/db?user=anna&password=secret", "no secret of anna", "no *** of anna"),
        ("GITHUB_PAT", "abcdefgh", "abcdefgh", "***"),
        ("HTTPS_PROXY", "http://u:secret@h", "a secret", "a ***"),
        ("SENTRY_DSN", "https://u:secret@h", "a secret", "a ***"),
        ("MLFLOW_TRACKING_URI", "http://u:pa@ss@h", "for pa@ss", "for ***"),
        ("MLFLOW_TRACKING_URI", "u:secret@h", "bad address u:secret@h", "bad address u:***@h"),
        ("MLFLOW_TRACKING_URI", "https://0123456789abcdef0123@h", "0123456789abcdef0123", "***"),
        ("MLFLOW_TRACKING_URI", "postgresql://anna@h/db", "user anna", "user anna"),
        ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "true", "it is true", "it is true"),
        ("DB_PWD", "abcd", "with abcd.", "with ***."),
        ("MY_PASS", "abcdefgh", "xabcdefghx", "x***x"),
        ("MLFLOW_AUTH", "abcdefgh", "abcdefgh", "***"),
        ("AZURE_STORAGE_CONNECTION_STRING", "AccountName=me;AccountKey=abcdefgh==", "abcdefgh== of me", "*** of me"),
        ("PWD", "/srv/here", "in /srv/here", "in /srv/here"),
        (
            "TOKEN",
            "study",
            "results/study, study-1, studying, my.study.x",
            "results/study, study-1, studying, my.study.x",
        ),
        ("TOKEN", "study", "Bearer study: 'study' key=study.", "Bearer ***: '***' key=***."),
        ("A_TOKEN", "1", "1 of 12", "1 of 12"),
        ("TOKENIZERS_PARALLELISM", "false", "false", "false"),
    ],
)
def test_values_of_secret_variables_are_hidden(variable: str, value: str, text: str, expected: str) -> None:
    """As they are written and as they are sent; short ones stand in every text, and stay."""
    assert redacted(text, {variable: value}) == expected


def test_a_secret_that_begins_with_another_is_hidden_whole() -> None:
    """The longer one first."""
    assert redacted("abcdefghijkl", {"A_TOKEN": "abcdefgh", "B_TOKEN": "abcdefghijkl"}) == "***"


def test_a_cell_that_fails_keeps_no_secret() -> None:
    """In the record, and so in MLflow, tables and pages."""

    def work(_job: Job) -> dict[str, object]:
        raise OSError("no answer from http://user:SECRET@host")

    reason = attempt(work, Job({}, None))["reason"]
    assert "http://host" in reason
    assert "SECRET" not in reason


@pytest.mark.parametrize(("error", "code"), [(OSError, 2), (ValueError, 1), (RuntimeError, 1)])
def test_what_nobody_expected_has_no_secret_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[Exception], code: int
) -> None:
    """An error of the system is a line, a bug a traceback."""

    def fail() -> None:
        raise error("http://user:SECRET@host does not answer")

    monkeypatch.setattr(app, "app", fail)
    with pytest.raises(SystemExit) as ended:
        app.main()
    said = capsys.readouterr().err
    assert ended.value.code == code
    assert "http://host does not answer" in said
    assert "SECRET" not in said
    assert said.count("\n") == 1 or code == 1


def test_mlflow_writes_no_secret_into_its_log(capsys: pytest.CaptureFixture[str]) -> None:
    """Its handlers show records of all its modules."""
    import suite.run.mlflow_store

    assert suite.run.mlflow_store.TROUBLE
    record = logging.LogRecord("mlflow.x", logging.ERROR, "", 1, "no %s", ("http://user:SECRET@host",), None)
    handlers = logging.getLogger("mlflow").handlers
    assert handlers
    for handler in handlers:
        assert handler.filter(record)
        assert handler.format(record).endswith("no http://host")


@pytest.mark.parametrize("store", ["http://user:SECRET@127.0.0.1:9", "postgresql://user:SECRET@127.0.0.1:9/db"])
def test_a_store_with_a_password_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    """One line, without it."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = here(tmp_path, "ui", "trial", "--no-open", MLFLOW_TRACKING_URI=store)
    assert done.returncode == 2
    assert "SECRET" not in done.stdout + done.stderr
    assert done.stderr.startswith(
        ("error: cannot use the MLflow store", "error: the store at MLFLOW_TRACKING_URI needs")
    )
    assert done.stderr.count("\n") == 1
