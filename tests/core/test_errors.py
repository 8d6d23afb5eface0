import copy
import inspect
import pickle

import pytest

from noli.core import errors
from noli.core.errors import NoliError, clean_url

CLASSES = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, NoliError)]

# The exit codes are a public promise; changing one breaks scripts.
EXIT_CODES = {
    "NoliError": 5,
    "UsageError": 2,
    "OutputExists": 2,
    "MissingPrerequisite": 3,
    "DataError": 4,
    "KeyFileError": 4,
    "WrongKey": 4,
    "SealError": 4,
    "LicenceRefused": 4,
    "LicenceExpired": 4,
    "LicenceRevoked": 4,
    "RunError": 5,
    "WorkerDied": 5,
    "Interrupted": 130,
}


def test_exit_codes() -> None:
    assert {c.__name__: c.exit_code for c in CLASSES} == EXIT_CODES


@pytest.mark.parametrize("cls", CLASSES)
def test_public_and_documented(cls: type[NoliError]) -> None:
    assert cls.__doc__
    assert issubclass(cls, Exception)
    with pytest.raises(NoliError):
        raise cls("Something failed.")


def test_family_tree() -> None:
    assert issubclass(errors.OutputExists, errors.UsageError)
    assert issubclass(errors.KeyFileError, errors.DataError)
    assert issubclass(errors.WrongKey, errors.DataError)
    assert issubclass(errors.SealError, errors.DataError)
    assert issubclass(errors.LicenceExpired, errors.LicenceRefused)
    assert issubclass(errors.LicenceRevoked, errors.LicenceRefused)
    assert issubclass(errors.WorkerDied, errors.RunError)
    assert not issubclass(errors.RunError, errors.DataError)


def test_text_in_fixed_order_and_only_what_is_known() -> None:
    full = NoliError(
        "It failed.", fix="run it again", where="a.png", why="no space", items=["a.png", "b.png"]
    )
    assert str(full) == "It failed. | where: a.png | why: no space | do: run it again"
    assert full.args == (str(full),)
    assert full.items == ("a.png", "b.png")
    assert str(NoliError("It failed.")) == "It failed."
    assert str(NoliError("It failed.", why="", fix="retry")) == "It failed. | do: retry"


def test_items_may_be_a_generator() -> None:
    error = errors.DataError("Two items.", items=(name for name in ("x", "y")))
    assert error.items == ("x", "y")
    assert error.items == ("x", "y")


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize("duplicate", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])  # noqa: S301
def test_crosses_process_borders(cls: type[NoliError], duplicate: object) -> None:
    error = cls("What.", where="here", why="because", fix="do this", items=["1", "2"])
    twin = duplicate(error)  # type: ignore[operator]
    assert type(twin) is cls
    assert (twin.what, twin.where, twin.why, twin.fix) == ("What.", "here", "because", "do this")
    assert twin.items == ("1", "2")
    assert str(twin) == str(error)
    assert twin.exit_code == cls.exit_code


def test_no_part_of_an_error_holds_login_or_signature() -> None:
    url = "https://u:p@ss@h/a.zip?X-Amz-Signature=SECRET"
    error = errors.DataError(f"No {url}.", where=url, why=f"403 for {url}", fix=f"open {url}", items=[url])
    for text in (error.what, error.where, error.why, error.fix, *error.items, str(error)):
        assert "https://h/a.zip" in str(text)
        assert not any(secret in str(text) for secret in ("u:", "p@", "ss@", "SECRET"))


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("s3://me:pw@b/x?sig=1#f and https://b/c#d", "s3://b/x and https://b/c"),
        ("S3://me@b", "S3://b"),
        ("gs://b/a@b.png", "gs://b/a@b.png"),
        ("me@home: what? /a/b#c", "me@home: what? /a/b#c"),
    ],
)
def test_clean_url_cuts_logins_and_queries_and_nothing_else(text: str, public: str) -> None:
    assert clean_url(text) == public


def test_details_are_keywords_only() -> None:
    with pytest.raises(TypeError):
        NoliError("What.", "where")  # type: ignore[misc]
