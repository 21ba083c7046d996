"""The connection to the MLflow store: its address, its client, and what happens when it fails."""

import logging
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError, quoted, redact, shortened
from pipeline.files import draft
from pipeline.paths import repository

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

SQLITE = "sqlite:///"
ARTIFACTS = "mlartifacts"  # the folder beside a SQLite file
ADDRESSES = (  # tables and columns of MLflow that hold addresses of artifacts
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)

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
    file = file if file.is_absolute() else repository().resolve() / file
    if odd := set("?#%") & set(str(file)):
        raise PipelineError(
            f"the path of the MLflow store, {quoted(str(file), 200)}, contains {min(odd)}, which means something else "
            "in its address; move the project to a folder without it."
        )
    if {"'", '"'} <= set(str(file)):
        raise PipelineError(
            f"the path of the MLflow store, {quoted(str(file), 200)}, contains both kinds of quotes, which MLflow "
            "cannot write into its SQL; move the project to a folder without one of them."
        )
    return file


def client() -> "MlflowClient":
    """MLflow's client of the store. Creates the tables of a new database."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow would print the address of each run, with the password in it.
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # They log tracebacks, and the names of profiles, of errors that MLflow raises anyway.
    for name in ("mlflow.store.db", "mlflow.utils.databricks_utils"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    uri, file = tracking_uri(), database_file()
    if file is None:
        _require_answer(uri)
        return MlflowClient(uri, registry_uri=uri)
    with exclusive():
        if not file.exists():
            with draft(file) as new:  # a creation that is interrupted leaves no half of a store
                MlflowClient(f"{SQLITE}{new}").search_experiments(max_results=1)
        if not file.is_file():
            raise PipelineError(
                f"the MLflow store {quoted(str(file), 200)} is not a file; name a file in MLFLOW_TRACKING_URI."
            )
        mlflow_client = MlflowClient(uri, registry_uri=uri)
        _require_here(mlflow_client.search_experiments(), file)
    return mlflow_client


def _require_here(experiments: "Sequence[Experiment]", file: Path) -> None:
    """Raise PipelineError if a SQLite store was made in another folder."""
    for experiment in experiments:
        if folder := _other_folder(str(experiment.artifact_location), str(experiment.name), file):
            raise PipelineError(
                f"{quoted(str(file), 200)} was made in another folder, and MLflow would write into {folder}; run "
                "`pipeline track --relocate` to make it the store of this folder, or move it back."
            )


def _other_folder(location: str, experiment: str, file: Path) -> str:
    """The folder of artifacts beside another file, where the artifacts of an experiment are; "" if there are none."""
    folder = location.removesuffix(f"/{experiment}")
    elsewhere = folder.startswith("file:") and folder.endswith(f"/{ARTIFACTS}") and folder != _artifacts(file)
    return folder if elsewhere else ""


def _artifacts(file: Path) -> str:
    return (file.parent / ARTIFACTS).as_uri()


def relocate() -> None:
    """Make a SQLite store that was made in another folder the store of this one: its artifacts are beside it now.

    All addresses change, or none does. Raises PipelineError if the store is no file.
    """
    uri, file = redact(tracking_uri()), database_file()
    if not file or not file.is_file():
        raise PipelineError(f"the MLflow store {uri} is no file that can be relocated; leave out --relocate.")
    try:
        with exclusive(), closing(sqlite3.connect(file)) as database, database:
            rows = database.execute("SELECT artifact_location, name FROM experiments").fetchall()
            for folder in {_other_folder(str(location), str(name), file) for location, name in rows} - {""}:
                for table, column in ADDRESSES:
                    database.execute(
                        f"UPDATE {table} SET {column} = ?1 || substr({column}, ?3) "  # noqa: S608  # the names above
                        f"WHERE substr({column}, 1, ?3) = ?2 || '/'",
                        (_artifacts(file), folder, len(folder) + 1),
                    )
    except sqlite3.Error as error:
        raise PipelineError(f"the MLflow store {uri} {_advice(error, uri, file)}.") from None


def _require_answer(uri: str) -> None:
    """Connect to a database once, within ten seconds, and raise its error: MLflow would try for two minutes."""
    import sqlalchemy

    if uri.startswith(("postgresql", "mysql")):
        engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": 10})
        engine.connect().close()
        engine.dispose()


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
        raise PipelineError(f"the MLflow store {uri} {_advice(error, uri, file)}.") from None


def _advice(error: Exception, uri: str, file: Path | None) -> str:
    """What is wrong with a store, and what to do."""
    said, reason = str(error), short_error(error)
    if "out-of-date database schema" in said or "Can't locate revision" in said:
        return f"was made by another version of MLflow; copy it, then run `mlflow db upgrade {uri}`"
    if file and "already exists" in said:
        return "is incomplete: its creation was interrupted; delete it, and `pipeline track` makes it again"
    if file and (isinstance(error, OSError) or "disk I/O" in said or "readonly" in said):
        locked = isinstance(error, TimeoutError)
        advice = "try again when the other process has ended" if locked else "free some space, or fix the permissions"
        return f"could not be read or written ({reason}); {advice}"
    if file and "not a database" in said:
        return "is no database; delete it, and `pipeline track` makes it again"
    if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
        return f"refers to something that is gone ({reason}); restore it, or remove the alias or tag that names it"
    return f"does not answer ({reason}); start it, or fix MLFLOW_TRACKING_URI"


@contextmanager
def may_exist() -> Iterator[None]:
    """Pass over MLflow's error that a name exists: it was made before, or just now by another process."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


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
    if os.environ.get("MLFLOW_TRACKING_URI", "").startswith("databricks"):  # the text has parts of the address
        return f"{type(error).__name__} of Databricks"
    return shortened(redact(str(error).split("\n[SQL:")[0].replace("\n", " ")), 200).rstrip(".")


def exclusive() -> AbstractContextManager[Any]:
    """One process of this machine at a time, if the store is a SQLite file: its lock lies beside it.

    For creating tables, and for changes that read first: two processes would each create a run.
    """
    from filelock import FileLock

    file = database_file()
    return FileLock(f"{file}.lock", timeout=30) if file else nullcontext()
