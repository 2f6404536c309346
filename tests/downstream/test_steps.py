"""Steps of a long job: kept from the same inputs, begun anew from others."""

from downstream.steps import Steps


def test_a_step_is_done_only_from_the_same_inputs(tmp_path):
    steps = Steps(tmp_path, {"train": ("results", "predictions")})
    assert not steps.done("train", "a")
    (tmp_path / "results" / "half").write_text("checkpoint")
    assert not steps.done("train", "a")
    assert (tmp_path / "results" / "half").is_file(), "a begun step goes on"
    steps.finish("train", "a")
    assert steps.done("train", "a")
    (tmp_path / "preprocessed").mkdir()
    (tmp_path / "preprocessed" / "kept").write_text("data")
    assert not steps.done("train", "b")
    assert not list((tmp_path / "results").iterdir()), "another input starts anew"
    assert (tmp_path / "preprocessed" / "kept").is_file()
