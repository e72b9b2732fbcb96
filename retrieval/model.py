"""The retriever: an image-text-to-text model whose state after `<emb>` is the embedding, for queries and
images alike.

`<emb>`'s input row is a parameter of its own, put in place by a hook: it is trained under LoRA too, and no
vocabulary has to grow. Training all (`full`), low-rank adapters (`lora`) or all but the vision tower
(`frozen_tower`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig, inject_adapter_in_model
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, GenerationConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling

from annotate.errors import RunIncomplete, UsageError
from retrieval.conversation import image_prompt
from retrieval.gradcache import Embedded
from retrieval.inputs import Batch, Reader, Spoken
from retrieval.objective import IGNORED, Temperature, chain_nll

Tuning = Literal["full", "lora", "frozen_tower"]
TOWER_NAMES = ("vision", "visual")
TOWER_STATES = "tower_states"


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What a checkpoint needs besides its weights to be built again; the texts are the flags' help."""

    tuning: Annotated[Tuning, "what is trained: all, adapters, or all but the vision tower"] = "lora"
    lora_rank: Annotated[int, "rank of the adapters, for --tuning lora"] = 16
    lora_alpha: Annotated[int, "their scale is this by the rank"] = 32
    projection: Annotated[int, "length of the embedding; 0: the state itself is the embedding"] = 0
    temperature: Annotated[float, "of the contrastive loss, at the start"] = 0.02
    learned_temperature: Annotated[bool, "train the temperature as well"] = True
    init_seed: Annotated[int, "of the adapters and the projection"] = 0

    def __post_init__(self) -> None:
        for name, least in (("lora_rank", 1), ("lora_alpha", 1), ("projection", 0), ("init_seed", 0)):
            if not least <= getattr(self, name) < 2**31:
                flag = name.replace("_", "-")
                raise UsageError(f"{flag} is {getattr(self, name)}; it must be from {least} to {2**31 - 1}")


def choose_device(asked: str = "auto") -> torch.device:
    """`auto` takes a GPU when there is one. Raises `UsageError` when a GPU is asked for and absent."""
    if asked not in ("auto", "cpu", "cuda"):
        raise UsageError(f"device {asked!r} is unknown; use auto, cpu or cuda")
    if asked == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda was asked for, but there is no GPU here; use --device cpu")
    return torch.device("cuda" if asked != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def within_memory() -> Iterator[None]:
    """A GPU's memory that does not suffice as one line: raises `RunIncomplete`."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RunIncomplete(
            "the GPU's memory does not suffice; train with a smaller --chunk, --grad-cache and "
            "--checkpoint-activations, embed with a smaller --batch (`train --plan` counts)"
        ) from error


class CirModel(nn.Module):
    """Backbone + `<emb>` row + optional projection + temperature."""

    def __init__(self, base: str | Path, settings: ModelSettings, device: torch.device) -> None:
        super().__init__()
        self.settings = settings
        self.reader = Reader(base)
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        backbone = load_whole(AutoModelForImageTextToText, base, dtype)
        # greedy means greedy: a repetition penalty of the base's own would punish copying
        ends = {"eos_token_id": self.reader.end_id, "pad_token_id": self.reader.pad_id}
        backbone.generation_config = GenerationConfig(**ends)
        table = backbone.get_input_embeddings()
        # starts as the end token's row: by then a language model has taken in all that was said
        self.emb_row = nn.Parameter(table.weight[self.reader.end_id].detach().float().clone())
        if self.reader.emb_id >= (rows := table.num_embeddings):
            backbone.resize_token_embeddings(self.reader.emb_id + 1, mean_resizing=False)
            with torch.no_grad():  # never read (the hook below) and never written: the same in every run
                backbone.get_input_embeddings().weight[rows:] = 0
                backbone.get_output_embeddings().weight[rows:] = 0
        with torch.random.fork_rng():  # new weights are a function of the settings
            torch.manual_seed(settings.init_seed)
            if settings.tuning == "lora":
                names = linear_names(backbone)
                adapters = LoraConfig(
                    r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules=names
                )
                backbone = inject_adapter_in_model(adapters, backbone)
            dim = table.embedding_dim
            self.projection = nn.Linear(dim, settings.projection) if settings.projection else None
        self.backbone = backbone
        backbone.get_input_embeddings().register_forward_hook(self._put_emb_row)
        self.temperature = Temperature(settings.temperature, settings.learned_temperature)
        for name, parameter in backbone.named_parameters():
            if settings.tuning == "lora":
                parameter.requires_grad_("lora_" in name)
            else:
                parameter.requires_grad_(settings.tuning == "full" or not of_tower(name))
            if parameter.requires_grad and dtype == torch.bfloat16:
                parameter.data = parameter.data.float()  # master weights; products run under autocast
        self.to(device)

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return self.emb_row.device

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.settings.projection or int(self.emb_row.shape[0])

    def quick_cpu_bf16(self) -> None:
        """Attention that gains from bfloat16 on a CPU: of torch's fused one the bfloat16 gradient is slow.

        A tower that is not trained stays as it is: whoever measures shares the sights that training keeps.
        """
        trained = "eager" if self.settings.tuning == "full" else {"text_config": "eager"}
        self.backbone.set_attn_implementation(trained)

    def checkpoint_activations(self) -> None:
        """Trade time for memory: keep no activations of the backbone's layers."""
        self.backbone.activation_checkpointing_enable({"use_reentrant": False})
        # transformers also makes inputs want gradients, which this kind needs not: a frozen tower would be
        # run again and pulled back through for nothing.
        self.backbone.disable_input_require_grads()

    def forward(self, batch: Batch) -> Embedded:
        """Unit vectors [b, dim] from the state after `<emb>` entered, and the chain's loss where labels say
        so."""
        placed = batch.to(self.device)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            states = self._states(placed)
            rows = torch.arange(len(states), device=self.device)
            last = states[rows, placed.ends]
            nll, tokens = chain_nll(states, placed.labels, self.backbone.get_output_embeddings())
        with torch.autocast(self.device.type, enabled=False):  # also where the caller's is on
            vectors = last.float() if self.projection is None else self.projection(last.float())
            unit = nn.functional.normalize(vectors, dim=-1)
        return Embedded(unit, nll if tokens else None, tokens)

    @torch.no_grad()
    def regrets(self, batch: Batch) -> Tensor:
        """For every token that the labels want, how much likelier (nats) the model's own choice was there."""
        placed = batch.to(self.device)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            wanted = placed.labels[:, 1:]
            chosen = wanted != IGNORED
            head = self.backbone.get_output_embeddings()
            logits: Tensor = head(self._states(placed)[:, :-1][chosen]).float()
        return logits.max(dim=-1).values - logits.gather(1, wanted[chosen][:, None])[:, 0]

    def _states(self, batch: Batch) -> Tensor:
        """The last layer's states [b, length, dim]."""
        inputs = self._connected(batch.inputs)
        states: Tensor = self.backbone.base_model(**inputs, use_cache=False).last_hidden_state
        return states

    @torch.no_grad()
    def sight(self, image: Image.Image) -> Image.Image | Spoken:
        """What training needs of a picture: the states of a frozen tower (Idefics3), else the picture."""
        if self.settings.tuning != "frozen_tower" or self.reader.model_type != "idefics3":
            return image
        sight, base = self.reader.sight(image), self.backbone.base_model
        pixels = {name: value.to(self.device) for name, value in sight.pixels.items()}
        was_training = base.vision_model.training
        base.vision_model.eval()  # what is kept must not hold one draw of a dropout
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            states: Tensor = base.get_image_features(**pixels, return_dict=True).last_hidden_state
        base.vision_model.train(was_training)
        return Spoken(sight.ids, {TOWER_STATES: states.float().cpu()})

    def _connected(self, inputs: Mapping[str, Tensor]) -> dict[str, Any]:
        """Inputs of the backbone; a tower's states go through the connector, which is trained."""
        given: dict[str, Any] = dict(inputs)
        states = given.pop(TOWER_STATES, None)
        if states is not None:
            seen = self.backbone.base_model.connector(states)
            given["mm_encoder_outputs"] = {
                "image": BaseModelOutputWithPooling(pooler_output=seen.flatten(0, 1))
            }
        return given

    @torch.no_grad()
    def embed_pictures(self, pictures: Sequence[Image.Image | Spoken]) -> NDArray[np.float32]:
        """Unit vectors [n, dim] of pictures, or of their sights: one fixed prompt, then `<emb>`."""
        self.eval()
        turns = [self.reader.user_turn(picture, image_prompt()) for picture in pictures]
        vectors: NDArray[np.float32] = self(self.reader.embedding_batch(turns)).vectors.cpu().numpy()
        return vectors

    @torch.no_grad()
    def write_chains(self, turns: Sequence[Spoken], max_tokens: int = 512) -> list[list[int]]:
        """Greedy continuation of each turn, without its end token; cut at `max_tokens`."""
        inputs = {name: value.to(self.device) for name, value in self.reader.generation_inputs(turns).items()}
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            found: Tensor = self.backbone.generate(
                **self._connected(inputs),
                max_new_tokens=max_tokens,
                do_sample=False,
                suppress_tokens=[self.reader.emb_id, self.reader.image_token_id],
            )
        rows = found[:, inputs["input_ids"].shape[1] :].tolist()
        return [row[: row.index(self.reader.end_id)] if self.reader.end_id in row else row for row in rows]

    def trained(self) -> dict[str, Tensor]:
        """What training may change, by name: the content of a checkpoint."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad or name in _ALWAYS}

    def _put_emb_row(self, _: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
        here = (arguments[0] == self.reader.emb_id).unsqueeze(-1)
        return torch.where(here, self.emb_row.to(output.dtype), output)


_ALWAYS = ("temperature.log_scale",)


def load_whole(auto: Any, folder: str | Path, dtype: torch.dtype, named: str = "BASE_MODEL") -> Any:
    """The model of a folder by a class of transformers; `named`: how the user names the folder.

    Raises `UsageError` for weights that are not there, broken or of another model: never random ones instead.
    """
    try:
        model, about = auto.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"{folder}: its weights cannot be loaded ({error}); check {named}") from error
    if missing := sorted(about["missing_keys"]):
        raise UsageError(
            f"{folder}: its weights lack {missing[0]}, {len(missing)} in all; take a whole model"
        )
    return model


def parameter_counts(model: CirModel) -> tuple[int, int]:
    """All parameters and the trained ones."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, trained in sizes if trained)


def of_tower(name: str) -> bool:
    return any(part.startswith(TOWER_NAMES) for part in name.split("."))


def linear_names(backbone: nn.Module) -> list[str]:
    """Every linear layer of the language model; neither the vision tower nor the vocabulary's head."""
    head = cast(Any, backbone).get_output_embeddings()
    return [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear) and module is not head and not of_tower(name)
    ]
