"""The connection to the MLflow store: its address, its client, and what happens when it fails."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError
from pipeline.paths import repository

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"

log = logging.getLogger(__name__)


def tracking_uri() -> str:
    """Where runs go: MLFLOW_TRACKING_URI, or mlflow.db in the root of the repository."""
    file = database_file()
    return os.environ["MLFLOW_TRACKING_URI"] if file is None else f"{SQLITE}{file}"


def database_file() -> Path | None:
    """The absolute path of the store's SQLite file; None if the store is a server or another database."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if not uri.startswith(SQLITE):
        return None
    file = Path(uri.removeprefix(SQLITE))
    return file if file.is_absolute() else repository().resolve() / file


def client() -> "MlflowClient":
    """MLflow's client of the store. Creates the tables of a new database."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow would print the address of each run, with the password in it.
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # It logs the tracebacks of errors that it raises anyway.
    logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)
    with exclusive():
        mlflow_client = MlflowClient(tracking_uri(), registry_uri=tracking_uri())
        mlflow_client.search_experiments(max_results=1)  # creates the tables of a new database
    return mlflow_client


@contextmanager
def connected(create: bool = False) -> Iterator["MlflowClient"]:
    """A client for a command that cannot work without the store. Raises PipelineError for what MLflow raises.

    Unless `create` is true, a SQLite file that does not exist is an error.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri, file = redact(tracking_uri()), database_file()
    if file and not create and not file.is_file():
        raise PipelineError(f"there is no MLflow store {uri}; run `make repro` or `pipeline track` to create it.")
    try:
        try:
            mlflow_client = client()
        except (ImportError, ValueError) as error:  # a driver that is not installed, an address that is not valid
            raise MlflowException(str(error)) from error
        yield mlflow_client
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if "out-of-date database schema" in str(error) or "Can't locate revision" in str(error):
            raise PipelineError(
                f"the MLflow store {uri} was made by another version of MLflow; copy it, then run "
                f"`mlflow db upgrade {uri}`."
            ) from None
        raise PipelineError(
            f"the MLflow store {uri} does not answer ({short_error(error)}); start it, or fix MLFLOW_TRACKING_URI."
        ) from None


class BestEffort:
    """Runs actions that must not stop a stage: the first that fails is logged as a warning, later ones are skipped.

    None is run where the environment says PIPELINE_RECORD=off, as for the stages of a reproduction.
    """

    def __init__(self, name: str):
        self.name, self.failed = name, os.environ.get("PIPELINE_RECORD") == "off"

    def __call__(self, what: str, action: Callable[[], Any]) -> Any:
        """The result of `action`, which records `what`; None if it or an earlier action failed."""
        if not self.failed:
            try:
                return action()
            except Exception as error:
                self.failed = True
                log.warning(
                    "MLflow could not record %s of %s (%s); run `pipeline track` when it can be reached again.",
                    what,
                    self.name,
                    short_error(error),
                )
        return None


def short_error(error: Exception) -> str:
    """An error of a library as one short line, without credentials."""
    return redact(" ".join(str(error).split("\n[SQL:")[0].split()))[:200].rstrip(".")


def redact(text: str) -> str:
    """A text without the user, password and query of the addresses in it."""
    # Up to the last @, since a password that is not quoted properly may contain both / and @.
    return re.sub(r"(://(?!/)[^\s?]*\?)\S+", r"\1***", re.sub(r"://(?!/)\S*@", "://***@", text))


@contextmanager
def exclusive() -> Iterator[None]:
    """One process of this machine at a time, if the store is a SQLite file: its lock lies beside it.

    For creating tables, and for changes that read first: two processes would each create a run.
    """
    from filelock import FileLock

    file = database_file()
    if file is None:
        yield
        return
    with FileLock(f"{file}.lock", timeout=30):
        yield
