"""Files for phones: they run, they answer as the ONNX file does, and what packages lack is said."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from test_report import a_decision, a_manifest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from benchmarks.errors import TrimfitError
from benchmarks.workload import Workload
from hardware_profiles.device import Device
from hardware_profiles.runtimes import OnnxRuntimeCpu, OnnxRuntimeSparse, Runtime
from hardware_profiles.runtimes.sparse.library import library_path
from optimizer.api import optimize
from optimizer.deployment import Deployment
from optimizer.deployment.folder import stage_files
from optimizer.export import export_onnx
from optimizer.manifest import Manifest, MobileFacts, MobileModel
from optimizer.mobile import add_mobile
from optimizer.mobile.operators import lacking, operators_listed, operators_of
from optimizer.mobile.ort_file import to_ort
from optimizer.progress import Silent
from optimizer.surgery import LayerPlan, keep

WORKLOAD = Workload(batch=1, seq_len=8, threads=1)
CUT = [LayerPlan(heads=(1, 3), ffn=(0, 2, 11)), None, LayerPlan(heads=(0,), ffn=(4,))]


def deploy(
    folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, runtime: Runtime, precision: str
) -> Path:
    """A deployment folder with everything that a job leaves, its numbers made up."""
    work = folder / "work"
    work.mkdir()
    fp32, _ = export_onnx(model, tokenizer, work / "exported.onnx")
    ids = np.ones((1, 8), np.int64)
    feed = {"input_ids": ids, "attention_mask": ids, "token_type_ids": 0 * ids}
    named = {entry.name for entry in onnx.load(fp32).graph.input}
    rows = [{name: values for name, values in feed.items() if name in named}]
    path = runtime.prepare(fp32, precision, work / f"{precision}.onnx", calibration=rows)
    out = folder / "deployed"
    stage_files(
        out,
        model=model,
        tokenizer=tokenizer,
        onnx=path,
        runtime=runtime,
        device=Device(name="a machine"),
        workload=WORKLOAD,
        longest=8,
        measurements=[],
    )
    manifest = a_manifest(workload=WORKLOAD)
    student = manifest.student.model_copy(update={"precision": precision, "runtime": runtime.name})
    files = {"model.onnx": sha256(out / "model.onnx"), "report.html": "sha256:none"}
    a_decision().write(out)
    manifest.model_copy(update={"student": student, "files": files}).write(out)
    return out


def sha256(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


@pytest.fixture
def student(make_classifier) -> PreTrainedModel:
    model, _ = keep(make_classifier(), CUT)
    return model


@pytest.mark.parametrize(
    ("precision", "deployed"),
    [("fp32", [("fp32", True), ("int8", False)]), ("int8-static", [("fp32", False), ("int8-static", True)])],
)
def test_both_precisions_are_there_and_the_deployed_one_is_marked(
    student, tokenizer, tmp_path: Path, precision: str, deployed: list[tuple[str, bool]]
) -> None:
    out = deploy(tmp_path, student, tokenizer, OnnxRuntimeCpu(), precision)
    manifest = add_mobile(out).manifest
    assert manifest == Manifest.read(out)
    assert manifest.mobile.onnxruntime == onnxruntime.__version__
    assert [(model.precision, model.deployed) for model in manifest.mobile.models] == deployed
    for model in manifest.mobile.models:
        assert model.lacking == ()
        assert model.ort_bytes == (out / model.file).stat().st_size
        assert model.onnx_bytes > 0
    (mine,) = (model for model in manifest.mobile.models if model.deployed)
    assert mine.onnx_bytes == (out / "model.onnx").stat().st_size


def test_an_ort_file_answers_as_the_onnx_file(student, tokenizer, batch, tmp_path: Path) -> None:
    out = deploy(tmp_path, student, tokenizer, OnnxRuntimeCpu(), "fp32")
    add_mobile(out)
    expected = student(**batch).logits.detach().numpy()
    session = onnxruntime.InferenceSession(out / "mobile" / "fp32.ort", providers=["CPUExecutionProvider"])
    feed = {name: values.numpy() for name, values in batch.items()}
    feed = {entry.name: feed.get(entry.name, 0 * feed["input_ids"]) for entry in session.get_inputs()}
    np.testing.assert_allclose(session.run(["logits"], feed)[0], expected, atol=1e-5)


def test_everything_is_in_the_manifest_and_on_the_page(student, tokenizer, tmp_path: Path) -> None:
    out = deploy(tmp_path, student, tokenizer, OnnxRuntimeCpu(), "fp32")
    manifest = add_mobile(out).manifest
    files = {f"mobile/{path.name}": sha256(path) for path in (out / "mobile").iterdir()}
    assert len(files) == 4
    kept = {"model.onnx": sha256(out / "model.onnx"), "report.html": sha256(out / "report.html")}
    assert manifest.files == {**kept, **files}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert '<section id="mobile">' in page
    assert "mobile/int8.ort" in page
    assert not [path.name for path in out.iterdir() if path.name.startswith(".mobile")]
    again = add_mobile(out).manifest.mobile
    assert _without_bytes(again) == _without_bytes(manifest.mobile), "a second time changes nothing"
    # onnxruntime writes the weights in an order of its own, which padding depends on: the size is that of the new file
    assert [model.ort_bytes for model in again.models] == [(out / m.file).stat().st_size for m in again.models]


def _without_bytes(facts: MobileFacts) -> list[MobileModel]:
    return [model.model_copy(update={"ort_bytes": 0}) for model in facts.models]


def test_a_finished_job_gets_its_files_for_phones_once_they_are_asked_for(
    student, tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = deploy(tmp_path, student, tokenizer, OnnxRuntimeCpu(), "fp32")
    monkeypatch.setattr("optimizer.api.run", lambda job, progress: Deployment(job.out))
    asked = {"model": "m", "data": "d", "out": out, "progress": Silent()}
    assert optimize(**asked).manifest.mobile is None
    assert not (out / "mobile").exists()
    assert len(optimize(**asked, mobile=True).manifest.mobile.models) == 2
    written = (out / "mobile" / "fp32.ort").stat().st_mtime_ns
    assert optimize(**asked, mobile=True).manifest.mobile is not None
    assert (out / "mobile" / "fp32.ort").stat().st_mtime_ns == written, "a second run has nothing to do"


def test_the_list_of_operators_is_that_of_the_file_and_names_no_folder(student, tokenizer, tmp_path: Path) -> None:
    fp32, _ = export_onnx(student, tokenizer, tmp_path / "model.onnx")
    found = to_ort(fp32, tmp_path / "student.ort")
    assert found.config.name == "student.required_operators_and_types.config"
    assert str(tmp_path) not in found.config.read_text()
    assert {"com.microsoft:BiasGelu", "ai.onnx:Gemm"} <= found.operators
    assert operators_listed(found.config) == found.operators
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", found.config.name, "student.ort"}


def test_sparse_operators_are_lacking_and_their_library_comes_along(make_classifier, tokenizer, tmp_path: Path) -> None:
    try:
        runtime = OnnxRuntimeSparse()
    except TrimfitError as error:
        pytest.skip(str(error))
    model = make_classifier()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "encoder.layer" in name and weight.dim() == 2:
                weight[:, ::4], weight[:, 1::4], weight[:, 2::4] = 0, 0, 0
    out = deploy(tmp_path, model, tokenizer, runtime, "fp32")
    models = {model.file: model for model in add_mobile(out).manifest.mobile.models}
    assert list(models) == ["mobile/fp32.ort", "mobile/int8.ort", "mobile/sparse-fp32.ort"]
    assert models["mobile/fp32.ort"].lacking == ()
    assert not models["mobile/fp32.ort"].deployed
    assert "trimfit:SparseLinear" in models["mobile/sparse-fp32.ort"].lacking
    assert models["mobile/sparse-fp32.ort"].deployed
    library = library_path("aarch64", "Android")
    assert (out / "mobile" / library.name).read_bytes() == library.read_bytes()


def test_operators_of_inner_graphs_count() -> None:
    inner = helper.make_graph([helper.make_node("Magic", ["x"], ["y"], domain="mine")], "inner", [], [])
    choice = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    value = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    found = operators_of(helper.make_graph([choice], "outer", [value], []))
    assert found == {"ai.onnx:If", "mine:Magic"}
    assert lacking({*found, "com.microsoft:FusedMatMul", "com.microsoft.nchwc:Conv"}) == (
        "com.microsoft.nchwc:Conv",
        "mine:Magic",
    )


def test_what_is_no_model_is_refused_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(TrimfitError, match="expected an ONNX") as caught:
        to_ort(broken, tmp_path / "x.ort")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.onnx"]


def test_a_folder_that_is_no_deployment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrimfitError, match=r"holds no manifest\.json"):
        add_mobile(tmp_path)
    assert not list(tmp_path.iterdir())
