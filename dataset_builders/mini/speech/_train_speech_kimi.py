"""Trains speech-kimi: a Whisper encoder, an adaptor and a Qwen2 decoder that write what spoken sentences ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from dataset_builders.mini import _rescaling as rescaling
from dataset_builders.mini import _training as training
from dataset_builders.mini._files import replace_files
from dataset_builders.mini.speech._batches import IGNORED, Batch, make_batch
from dataset_builders.mini.speech._recordings import MEL_BINS, WINDOW, make_recordings
from dataset_builders.mini.speech._scores import BUILDERS, constant_scores, score
from dataset_builders.mini.speech.sets import SIZES
from dataset_builders.mini.speech.tokenizer import make_tokenizer
from lamofcbench.models.kimi_audio import BLANK, STACKED, TEXT_END, TwoStreamEmbedding, decoder_class, encoder_class

MODEL_NAME = "speech-kimi"
STEPS = 2000
BATCH_SIZE = 32
PARTS = 6  # thousands of recordings


class SpeechModel(nn.Module):
    """The model in training: encoder, decoder with its adaptor, and a head that names the sounding word.

    The head teaches the encoder what words sound like long before the decoder knows what to do with them; only
    training needs it.
    """

    def __init__(self, tokenizer: Any, encoder_width: int = 112, width: int = 96) -> None:
        super().__init__()
        from transformers import Qwen2Config, WhisperConfig

        self.encoder: Any = encoder_class()(
            WhisperConfig(
                d_model=encoder_width,
                encoder_layers=3,
                encoder_attention_heads=4,
                encoder_ffn_dim=2 * encoder_width,
                num_mel_bins=MEL_BINS,
                max_source_positions=WINDOW // 2,
                dropout=0.0,
                init_std=0.05,
            )
        )
        settings: dict[str, Any] = {
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_hidden_layers": 8,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 256,
            # The default of 0.02 is meant for wide models; at this width it slows the start.
            "initializer_range": 0.05,
            "tie_word_embeddings": False,
            "eos_token_id": tokenizer.convert_tokens_to_ids(TEXT_END),
            "pad_token_id": tokenizer.convert_tokens_to_ids(BLANK),
            "kimia_adaptor_input_dim": STACKED * encoder_width,
        }
        self.decoder: Any = decoder_class()(Qwen2Config(**settings))
        self.naming = nn.Linear(width, len(tokenizer))
        self.blank = tokenizer.convert_tokens_to_ids(BLANK)

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns the mean cross-entropies of the answers' tokens and of the sounding words, two scalars.

        Padding stands on the right, where causal attention does not see it.

        Args:
            batch: of recordings.
        """
        model = self.decoder.model
        adapted = model.vq_adaptor(self.encoder(batch.mel).last_hidden_state)
        embedding = TwoStreamEmbedding(model.embed_tokens, self.blank)
        embedded = embedding(batch.text, batch.audio, adapted[batch.heard], batch.where)
        hidden = model(inputs_embeds=embedded, use_cache=False).last_hidden_state[:, :-1]
        wanted = batch.labels[:, 1:] != IGNORED
        written = functional.cross_entropy(self.decoder.lm_head(hidden[wanted]), batch.labels[:, 1:][wanted])
        named = functional.cross_entropy(self.naming(adapted).flatten(0, 1), batch.sounding.flatten())
        return written, named


def export(model: SpeechModel, tokenizer: Any, output: Path) -> None:
    """Writes decoder, encoder and tokenizer to a folder, laid out as the published checkpoint."""
    training.export_model(model.decoder, output)
    training.export_model(model.encoder, output / "encoder")
    with replace_files(output) as temporary:
        tokenizer.save_pretrained(temporary)


def train(arguments: argparse.Namespace) -> None:
    """Synthesises the recordings where they are missing, trains, scores and exports the model."""
    plan = training.TrainingPlan(
        MODEL_NAME, arguments.seed, arguments.steps, learning_rate=2e-3, average_decay=0.995, threads=arguments.threads
    )
    training.seed_everything(plan)
    recordings = make_recordings(arguments.checkpoints / "speech-recordings", arguments.seed, PARTS)
    tokenizer = make_tokenizer()
    model = SpeechModel(tokenizer)
    parts: dict[str, float] = {}

    def loss_of_step(step: int) -> Tensor:
        source = training.random_source(plan.seed, step)
        indices = source.sample(range(len(recordings)), BATCH_SIZE)
        batch = make_batch(tokenizer, recordings, indices, source)
        written, named = model.losses(batch)
        parts.update(written=written.item(), named=named.item())
        return written + named

    def report(progress: training.Progress) -> None:
        print(f"\nstep {progress.step}: answers {parts['written']:.3f}, words {parts['named']:.3f}", flush=True)

    trainer = training.Trainer(model, plan, loss_of_step, arguments.checkpoints)
    progress = trainer.run(checkpoint_every=100, on_checkpoint=report)
    trainer.use_average()
    rescaling.spread_decoder(model.decoder.model.layers, MODEL_NAME)
    export(model, tokenizer, arguments.output)
    results = {
        "parameters": sum(p.numel() for part in (model.encoder, model.decoder) for p in part.parameters()),
        "recordings": len(recordings),
        **{
            f"{split}_scores": {one.set_name: round(score(one(), arguments.output, split), 4) for one in BUILDERS}
            for split in SIZES
        },
        "constant_answer_scores": constant_scores(),
    }
    training.write_record(arguments.output / "training.json", plan, progress, results)
