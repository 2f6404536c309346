"""The process behind a usability study: `python -m downstream.usability.job OUT prepare FOLD` or `... OUT train NAME`.

`prepare` plans on the cases that `OUT/job.json` names and preprocesses the cases of a fold; `train` does one training: train,
predict, score. Both go on where an earlier process stood.
"""

import sys
from pathlib import Path

from downstream.nnunet_process import end_with_parent
from downstream.usability.pool import plan_and_preprocess
from downstream.usability.training import train_predict_score
from downstream.usability.work import Job

__all__ = ["main"]


def main(out: Path, step: str, what: str) -> None:
    """Do one step of the job of a folder: `prepare` a fold, or `train` by name."""
    job = Job.read(out)
    if step == "prepare":
        plan_and_preprocess(job, int(what))
    else:
        train_predict_score(job, what)


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
