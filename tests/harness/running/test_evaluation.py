import pytest

import harness
from lamofcbench.codecs.identity import IdentityCodec
from lamofcbench.codecs.registry import CODECS
from lamofcbench.errors import CodecError, LaMoFCBenchError, UnknownNameError


@pytest.fixture
def evaluate(toy, toy_data):
    def run(codec, scenario=toy, **settings):
        return harness.evaluate(codec, scenario, data=toy_data, progress=False, **settings)

    return run


def test_a_spec_without_parameters_gives_the_curve_of_its_ladder(evaluate, toy_file):
    curve = evaluate("uniform", toy_file)
    assert len(curve) == len(CODECS.get("uniform").rate_points) == len(list(curve))
    rates = [point.rate.ebpfp for point in curve]
    assert rates == sorted(rates) and rates[0] < rates[-1] < curve.anchor.rate.ebpfp
    assert curve[-1].score > curve.floor.score
    assert curve[0] == curve[:1][0]
    assert curve.folders == ()


def test_a_class_an_object_and_several_at_once(evaluate, toy):
    class Mine(IdentityCodec):
        """A codec of one's own that is registered nowhere."""

    assert evaluate(Mine)[0].codec.name == "mine"
    assert evaluate(Mine(toy.specs))[0].score == evaluate(Mine).anchor.score
    names = {point.codec.name for point in evaluate(["zstd", Mine, IdentityCodec(toy.specs)])}
    assert names == {"zstd", "mine", "identity"}


def test_a_fitted_codec_is_used_as_it_is(evaluate, toy, make_runner):
    runner = make_runner()
    fitted = runner.fitted(CODECS.get("mean")(toy.specs))[0]
    assert evaluate(fitted)[0].codec.fingerprint == fitted.fingerprint.hex()
    assert evaluate(fitted)[0] == evaluate(fitted).floor


def test_results_are_kept_where_the_user_says(evaluate, tmp_path):
    curve = evaluate("zstd", results=tmp_path)
    assert [folder.is_dir() for folder in curve.folders] == [True]
    assert len(list(tmp_path.rglob("result.json"))) == 3


def test_a_limit_is_reported(evaluate):
    assert {point.samples for point in evaluate("zstd", limit=3)} == {3}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"limit": 0}, "limit is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"overwrite": "sometimes"}, "never, missing, always"),
        ({"device": "abacus"}, "unknown device"),
    ],
)
def test_wrong_settings_are_one_clear_error(evaluate, settings, message):
    with pytest.raises(LaMoFCBenchError, match=message):
        evaluate("zstd", **settings)


def test_wrong_codecs_are_one_clear_error(evaluate, toy):
    with pytest.raises(UnknownNameError, match="did you mean 'uniform'"):
        evaluate("unifrom")
    with pytest.raises(CodecError, match="step"):
        evaluate("uniform:stpe=1")
    with pytest.raises(CodecError, match="no codec"):
        evaluate([3])
    other = toy.model_copy(update={"tensors": toy.tensors[:1]})
    with pytest.raises(CodecError, match="other tensors"):
        evaluate(IdentityCodec(other.specs))
