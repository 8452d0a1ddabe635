"""Encoders as they are really exported: 2 layers, hidden 64, 4 heads of 16, FFN 128, 3 labels, 100 words."""

from __future__ import annotations

import warnings

import pytest

_NAMES = {
    "distilbert": {
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "num_hidden_layers": "n_layers",
    }
}
_SIZES = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "num_hidden_layers": 2}


def _classifier(family, attention):
    """Random numbers everywhere; 7 of 8 1x4 blocks of every encoder layer's weights are zero."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    names = _NAMES.get(family, {})
    sizes = {names.get(name, name): value for name, value in _SIZES.items()}
    config = transformers.AutoConfig.for_model(
        family, vocab_size=100, max_position_embeddings=260, pad_token_id=1, num_labels=3, **sizes
    )
    model = transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation=attention).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 0.3, generator=generator)
            if "layer." in name and parameter.ndim == 2:
                blocks = parameter.view(len(parameter), -1, 4)
                blocks *= torch.rand(blocks.shape[:2], generator=generator)[..., None] < 1 / 8
    return model


@pytest.fixture(scope="session")
def export(tmp_path_factory):
    """export(family, attention="sdpa") -> (PyTorch model, ONNX file); each is made once."""
    exporters = pytest.importorskip("optimum.exporters.onnx")
    made = {}

    def exported(family, attention="sdpa"):
        if (family, attention) not in made:
            model = _classifier(family, attention)
            folder = tmp_path_factory.mktemp(family)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the tracer's, about what the model leaves constant
                exporters.onnx_export_from_model(model, folder, task="text-classification", do_validation=False)
            made[family, attention] = model, folder / "model.onnx"
        return made[family, attention]

    return exported
