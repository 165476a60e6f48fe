"""Writes decoder_{gpt2,llama,article}.safetensors: the whole state of a small model from another framework.

gpt2 and llama are the classes of `transformers`; the article's block, which no library has, is written here in plain
PyTorch. Each file holds the weights under Quern's names, ids and targets, the logits, the loss, every gradient, and
every weight after ten AdamW steps, in float32 computed from float64.

    python tests/golden/decoder.py OUT_FOLDER      (needs torch, transformers, safetensors)
"""

import math
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

VOCABULARY, WIDTH, LAYERS, HEADS, KV_HEADS, CONTEXT, BATCH, LENGTH = 29, 24, 2, 4, 2, 12, 3, 9
FFN = {"gpt2": 96, "llama": 40, "article": 56}
# The key bias has no effect on a softmax, so its gradient is rounding noise, which a smaller epsilon would blow up.
ADAMW = dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-4)
WEIGHT_DECAY = 0.1


class Article(torch.nn.Module):
    """x = norm(x); x = attention(x) + x; x = norm(x); x = ffn(x) + x, over sinusoidal positions."""

    def __init__(self):
        super().__init__()
        linear = torch.nn.Linear
        self.embed = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.layers = torch.nn.ModuleList(
            torch.nn.ModuleDict(
                dict(
                    norm1=torch.nn.LayerNorm(WIDTH),
                    qkv=linear(WIDTH, 3 * WIDTH),
                    out=linear(WIDTH, WIDTH),
                    norm2=torch.nn.LayerNorm(WIDTH),
                    up=linear(WIDTH, FFN["article"]),
                    down=linear(FFN["article"], WIDTH),
                )
            )
            for _ in range(LAYERS)
        )

    def forward(self, ids):
        position = torch.arange(ids.shape[1], dtype=torch.float64)[:, None]
        frequency = torch.exp(-math.log(10000.0) * torch.arange(0, WIDTH, 2, dtype=torch.float64) / WIDTH)
        sinusoids = torch.zeros(ids.shape[1], WIDTH, dtype=torch.float64)
        sinusoids[:, 0::2] = torch.sin(position * frequency)
        sinusoids[:, 1::2] = torch.cos(position * frequency)
        x = self.embed(ids) * math.sqrt(WIDTH) + sinusoids
        for layer in self.layers:
            x = layer["norm1"](x)
            q, k, v = (
                part.view(*ids.shape, HEADS, WIDTH // HEADS).transpose(1, 2)
                for part in layer["qkv"](x).split(WIDTH, dim=-1)
            )
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = layer["out"](mixed.transpose(1, 2).reshape(*ids.shape, WIDTH)) + x
            x = layer["norm2"](x)
            x = layer["down"](F.relu(layer["up"](x))) + x
        return x @ self.embed.weight.T


def gpt2_names(state):
    out = {"embed.weight": state["transformer.wte.weight"], "embed.position": state["transformer.wpe.weight"]}
    parts = {"ln_1": "norm1", "ln_2": "norm2", "attn.c_attn": "attention.qkv", "attn.c_proj": "attention.out",
             "mlp.c_fc": "ffn.up", "mlp.c_proj": "ffn.down"}
    for i in range(LAYERS):
        for theirs, ours in parts.items():
            for kind in ("weight", "bias"):
                tensor = state[f"transformer.h.{i}.{theirs}.{kind}"]
                transposed = kind == "weight" and not theirs.startswith("ln")  # Conv1D holds (in, out)
                out[f"layers.{i}.{ours}.{kind}"] = tensor.T if transposed else tensor
    for kind in ("weight", "bias"):
        out[f"norm.{kind}"] = state[f"transformer.ln_f.{kind}"]
    return out


def llama_names(state):
    out = {"embed.weight": state["model.embed_tokens.weight"], "norm.weight": state["model.norm.weight"],
           "output.weight": state["lm_head.weight"]}
    for i in range(LAYERS):
        get = lambda name: state[f"model.layers.{i}.{name}.weight"]
        out[f"layers.{i}.norm1.weight"] = get("input_layernorm")
        out[f"layers.{i}.norm2.weight"] = get("post_attention_layernorm")
        out[f"layers.{i}.attention.qkv.weight"] = torch.cat([get(f"self_attn.{p}_proj") for p in "qkv"])
        out[f"layers.{i}.attention.out.weight"] = get("self_attn.o_proj")
        out[f"layers.{i}.ffn.up.weight"] = torch.cat([get("mlp.gate_proj"), get("mlp.up_proj")])
        out[f"layers.{i}.ffn.down.weight"] = get("mlp.down_proj")
    return out


def article_names(state):
    out = {"embed.weight": state["embed.weight"]}
    parts = {"norm1": "norm1", "norm2": "norm2", "qkv": "attention.qkv", "out": "attention.out", "up": "ffn.up",
             "down": "ffn.down"}
    for i in range(LAYERS):
        for theirs, ours in parts.items():
            for kind in ("weight", "bias"):
                out[f"layers.{i}.{ours}.{kind}"] = state[f"layers.{i}.{theirs}.{kind}"]
    return out


def make(preset):
    if preset == "gpt2":
        return GPT2LMHeadModel(GPT2Config(
            vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_inner=FFN[preset],
            resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)), gpt2_names
    if preset == "llama":  # untied and with grouped heads, so that both are covered
        return LlamaForCausalLM(LlamaConfig(
            vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, hidden_size=WIDTH, num_hidden_layers=LAYERS,
            num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, intermediate_size=FFN[preset], rms_norm_eps=1e-5,
            tie_word_embeddings=False)), llama_names
    return Article(), article_names


def main(folder):
    for preset in ("gpt2", "llama", "article"):
        torch.manual_seed(7)
        model, names = make(preset)
        model = model.double().train()
        with torch.no_grad():  # wider than any initialisation, and no bias or norm left at 0 or 1
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.15)
            for parameter in model.parameters():
                parameter.copy_(parameter.float().double())
        ids = torch.randint(0, VOCABULARY, (BATCH, LENGTH))
        targets = torch.randint(0, VOCABULARY, (BATCH, LENGTH))
        targets[1, 6:] = -1
        logits_of = lambda: (lambda out: out if isinstance(out, torch.Tensor) else out.logits)(model(ids))
        loss_of = lambda logits: F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)

        logits = logits_of()
        loss = loss_of(logits)
        loss.backward()
        tensors = {"ids": ids.int(), "targets": targets.int(), "logits": logits.detach(), "loss": loss.detach()[None]}
        add = lambda prefix, state: tensors.update({f"{prefix}.{k}": v.detach().clone() for k, v in names(state).items()})
        add("weight", dict(model.state_dict()))
        gradients = {k: p.grad for k, p in model.named_parameters()}
        add("gradient", gradients)

        decayed = [p for p in model.parameters() if p.dim() > 1]
        others = [p for p in model.parameters() if p.dim() <= 1]
        optimizer = torch.optim.AdamW(
            [dict(params=decayed, weight_decay=WEIGHT_DECAY), dict(params=others, weight_decay=0)], **ADAMW)
        for _ in range(10):
            optimizer.zero_grad()
            loss_of(logits_of()).backward()
            optimizer.step()
        add("after", dict(model.state_dict()))
        tensors = {k: (v.float() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}
        save_file(tensors, f"{folder}/decoder_{preset}.safetensors")
        print(preset, "loss", float(loss), "after ten steps", float(loss_of(logits_of())))


main(sys.argv[1])
