"""The error tree of the whole project, grouped by what the caller would do.

    FactoryError
    ├── InputError                 fix the input                           exit 2
    │   ├── UnknownNameError       a name outside its vocabulary           (LookupError)
    │   ├── InvalidValueError      a value outside its domain              (ValueError)
    │   ├── FileFormatError        a file that cannot be read as promised  (ValueError)
    │   ├── LocationError          a path missing, occupied or unwritable  (OSError)
    │   ├── SpecMismatchError      a dataset built from another spec
    │   └── MissingDependencyError an optional package is not installed    (ImportError)
    ├── RetryError                 run the same command again              exit 1
    │   ├── StorageError           the disk is full or failed: free it     exit 2 (OSError)
    │   ├── BusyError              another build holds the dataset
    │   └── WorkerError            a worker died or ran out of time
    └── DefectError                report it: a promise was broken         exit 1
        ├── EngineContractError    an engine returned what it must not
        └── CorruptDatasetError    stored bytes differ from their record

Every message has four parts: what (which argument, row or case), what was got, what is
needed, and what to do. The command line prints exactly that and no traceback.
"""

__all__ = [
    "BusyError",
    "CorruptDatasetError",
    "DefectError",
    "EngineContractError",
    "FactoryError",
    "FileFormatError",
    "InputError",
    "InvalidValueError",
    "LocationError",
    "MissingDependencyError",
    "RetryError",
    "SpecMismatchError",
    "StorageError",
    "UnknownNameError",
    "WorkerError",
]


class FactoryError(Exception):
    """Root of the tree; carries the four parts of its message.

    Attributes:
        what: the argument, file, row or case concerned.
        got: what was found there.
        need: what would have been right.
        do: what the reader can do now.
        exit_code: the exit status of a command that ends with this error.
    """

    exit_code = 1

    def __init__(self, what: str, *, got: str, need: str, do: str) -> None:
        self.what, self.got, self.need, self.do = what, got, need, do
        super().__init__(f"{what}: got {got}; need {need}. {do}")

    def __str__(self) -> str:
        """The whole message, also where a builtin base formats differently."""
        return f"{self.what}: got {self.got}; need {self.need}. {self.do}"

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling between processes with all four parts."""
        return (_rebuild, (type(self), self.what, self.got, self.need, self.do))


def _rebuild(kind: type[FactoryError], what: str, got: str, need: str, do: str) -> FactoryError:
    return kind(what, got=got, need=need, do=do)


class InputError(FactoryError):
    """The input is wrong; the same call fails again until it is changed."""

    exit_code = 2


class UnknownNameError(InputError, LookupError):
    """A name that its vocabulary does not hold."""


class InvalidValueError(InputError, ValueError):
    """A value outside its domain."""


class FileFormatError(InputError, ValueError):
    """A file that is not what its name or place promises."""


class LocationError(InputError, OSError):
    """A path that is missing, occupied or cannot be written."""


class SpecMismatchError(InputError):
    """A dataset directory that was built from a different spec."""


class MissingDependencyError(InputError, ImportError):
    """An optional package that this call needs is not installed."""


class RetryError(FactoryError):
    """Nothing is lost: the same call may succeed later."""


class StorageError(RetryError, OSError):
    """Writing or reading failed for a reason outside the data: full disk, I/O error.

    Its exit status is that of bad input, because the place that was given has to be mended first;
    what is committed stands, and the same command then resumes.
    """

    exit_code = 2


class BusyError(RetryError):
    """Another process is building this dataset."""


class WorkerError(RetryError):
    """A worker died or exceeded its time limit."""


class DefectError(FactoryError):
    """A promise of the project was broken; please report it."""


class EngineContractError(DefectError):
    """An engine returned arrays or records that its contract forbids."""


class CorruptDatasetError(DefectError):
    """Stored bytes do not match their record."""
