"""The README's pictures, drawn from a real run: `python docs/pictures.py demo/run`.

tokens.png: a sentence that the run's generator corrupted, with the discriminator's probabilities.
report.png: the top of the run's report. Both go to docs/pictures/ and have a light ground of their
own, so that they are readable on dark pages too. Needs Chromium on PATH, and Pillow.
"""

from __future__ import annotations

import argparse
import html
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

PICTURES = Path(__file__).parent / "pictures"
TEXT = (
    "The default value is used when no other value is given. If the key is not found in the list, "
    "the function returns an empty string and the state of the object is not changed."
)
MASKED = 0.15
LIMIT = 150_000  # bytes a picture
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_LEFT_OUT = ("[CLS]", "[SEP]", "[PAD]")

_PAGE = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; background: #f6f7f9; font: 19px/1 "DejaVu Sans", sans-serif; color: #16202c; }
main { box-sizing: border-box; width: WIDTHpx; padding: 22px 30px 20px; }
h1 { font-size: 17px; font-weight: 600; margin: 0 0 18px; }
p { font-size: 14px; line-height: 1.5; margin: 16px 0 0; color: #44515f; }
.words { display: flex; flex-wrap: wrap; gap: 12px 7px; align-items: flex-end; }
.word { display: inline-flex; align-items: flex-end; }
.piece { display: inline-flex; flex-direction: column; align-items: center; }
.piece b { font-weight: 400; align-self: stretch; text-align: center; padding: 5px 1px;
  background: rgba(226, 88, 34, var(--p)); }
.word .piece:first-child b { border-radius: 5px 0 0 5px; padding-left: 5px; }
.word .piece:last-child b { border-radius: 0 5px 5px 0; padding-right: 5px; }
.word .piece:only-child b { border-radius: 5px; }
.was { font-size: 13px; height: 17px; color: #64707d; text-decoration: line-through; }
.replaced b { font-weight: 700; box-shadow: inset 0 -3px #16202c; }
i { display: inline-block; width: 74px; height: 11px; vertical-align: -1px; margin: 0 5px;
  background: linear-gradient(90deg, rgba(226, 88, 34, 0), rgba(226, 88, 34, .9)); }
</style><main><h1>A sentence after the generator</h1><div class="words">WORDS</div>
<p>Underlined: replaced by the generator; above it, what stood there. Shade: the discriminator’s
probability that the token was replaced, 0<i></i>1. NOTE</p></main>"""


def words(tokens: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Tokens by word: a WordPiece that continues a word (`##…`) stands with what it continues."""
    found: list[list[dict[str, Any]]] = []
    for token in tokens:
        if token["text"] in _LEFT_OUT:
            continue
        if token["text"].startswith("##") and found:
            found[-1].append(token)
        else:
            found.append([token])
    return found


def tokens_page(tokens: list[dict[str, Any]], width: int, note: str = "") -> str:
    """The HTML page of a corrupted sentence."""
    spans = []
    for word in words(tokens):
        pieces = []
        for token in word:
            shade = 0.9 * min(max(float(token["probability"]), 0.0), 1.0)
            was = token.get("original", "") if token.get("replaced") else ""
            pieces.append(
                f'<span class="piece{" replaced" * bool(token.get("replaced"))}" '
                f'style="--p:{shade:.2f}"><span class="was">{_plain(was)}</span>'
                f"<b>{_plain(token['text'])}</b></span>"
            )
        spans.append(f'<span class="word">{"".join(pieces)}</span>')
    page = _PAGE.replace("WIDTH", str(width)).replace("NOTE", html.escape(note))
    return page.replace("WORDS", "".join(spans))


def _plain(piece: str) -> str:
    return html.escape(piece.removeprefix("##"))


def corrupted(model: Any, text: str, seed: int) -> list[dict[str, Any]]:
    """The tokens of a text after a pair's generator: 15 % of them are masked and sampled anew at
    temperature 1; a token that is sampled as it was is no replacement.

    Returns {"text", "probability"} for each, of a replaced one "replaced" and "original" too.
    """
    draw, tokenizer = np.random.default_rng(seed), model.tokenizer
    ids = tokenizer([text])["input_ids"]
    length = ids.shape[1]
    inside = np.arange(1, length - 1)  # not [CLS] and [SEP]
    chosen = np.sort(draw.choice(inside, round(MASKED * len(inside)), replace=False))
    masked, after = ids.copy(), ids.copy()
    masked[0, chosen] = tokenizer.special_ids.mask
    logits = np.asarray(model.generator({"input_ids": masked}).logits, np.float64)[0, chosen]
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    after[0, chosen] = [draw.choice(len(share), p=share) for share in shares]
    found = np.asarray(model.discriminator({"input_ids": after}).logits)[0]
    before, now = (tokenizer.ids_to_tokens(row[0].tolist()) for row in (ids, after))
    return [
        {"text": token, "probability": 1 / (1 + np.exp(-logit))}
        | ({"replaced": True, "original": old} if token != old else {})
        for old, token, logit in zip(before, now, found, strict=True)
    ]


def screenshot(page: Path, target: Path, width: int, height: int, scale: float) -> None:
    """A picture of the page's upper left corner, in few colours."""
    browser = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit("docs/pictures.py: no Chromium on PATH")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    options += [f"--force-device-scale-factor={scale}", f"--window-size={width},{height}"]
    options += [f"--screenshot={target}", "--virtual-time-budget=3000", page.resolve().as_uri()]
    subprocess.run([browser, *options], check=True, capture_output=True)


def save_small(source: Path, target: Path, cut: bool) -> None:
    """Fewer colours, and with `cut` without the empty rows at the bottom."""
    from PIL import Image

    picture = Image.open(source).convert("RGB")
    if cut:
        ground = picture.getpixel((0, 0))
        rows = [y for y in range(picture.height) if not _is_plain(picture, y, ground)]
        picture = picture.crop((0, 0, picture.width, min(rows[-1] + 40, picture.height)))
    for colours in (256, 128, 64, 32):
        picture.quantize(colours).save(target, optimize=True)
        if target.stat().st_size < LIMIT:
            return
    raise SystemExit(f"{target} is larger than {LIMIT} bytes")


def _is_plain(picture: Any, y: int, ground: tuple[int, ...]) -> bool:
    return picture.crop((0, y, picture.width, y + 1)).getcolors(1) == [(picture.width, ground)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdir", type=Path, help="of a run, such as demo/run")
    parser.add_argument("--text", default=TEXT, help="what is corrupted")
    parser.add_argument("--seed", type=int, default=0, help="of the masked positions and samples")
    parser.add_argument("--note", default="", help="one more sentence under the tokens")
    arguments = parser.parse_args()
    import electra_jax

    model = electra_jax.load(arguments.workdir)
    tokens = corrupted(model, arguments.text, arguments.seed)
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        scratch, page = Path(folder) / "picture.png", Path(folder) / "tokens.html"
        page.write_text(tokens_page(tokens, 640, arguments.note), encoding="utf-8")
        screenshot(page, scratch, 640, 1200, 2)
        save_small(scratch, PICTURES / "tokens.png", cut=True)
        screenshot(arguments.workdir / "report.html", scratch, 1180, 1216, 1.2)
        save_small(scratch, PICTURES / "report.png", cut=False)
    for picture in sorted(PICTURES.glob("*.png")):
        print(f"{picture}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
