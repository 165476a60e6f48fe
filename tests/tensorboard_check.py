#!/usr/bin/env python3
"""Does the real TensorBoard read what Quern wrote?

    tensorboard_check.py FOLDER [--require scalars,histograms,text,hparams,pr_curves,images,projector]

Needs `pip install tensorboard`; run by hand, in a virtual environment. Every tag that the event
files of FOLDER hold must come out of TensorBoard's own loader, with every value readable, and what
lies there for the projector out of its plugin. Prints one line a kind; exits with 1 when a tag is
lost, a value cannot be read, or a required kind or tag is missing.
"""
import argparse
import json
import pathlib
import struct
import sys

import numpy
from tensorboard.backend.event_processing import data_provider, event_accumulator, event_file_loader
from tensorboard.backend.event_processing import plugin_event_multiplexer
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.pr_curve import metadata as pr_curves
from tensorboard.plugins.projector import projector_plugin
from tensorboard.util import tensor_util
from werkzeug.test import Client


def written(folder):
    """Tag -> kind, straight from the records, as TensorBoard's own record reader gives them."""
    tags = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        # TensorBoard stops at a damaged record without a word: 16 bytes frame each that it read.
        records = event_file_loader.RawEventFileLoader(str(path)).Load()
        covered = sum(16 + len(record) for record in records)
        if covered != path.stat().st_size or covered == 0:
            sys.exit(f"{path}: readable to byte {covered} of {path.stat().st_size}")
        for event in event_file_loader.LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                kind = "scalars" if value.HasField("simple_value") else plugin
                known = tags.setdefault(value.tag, kind)
                # Metadata may be left out after a tag's first value.
                if kind and known != kind:
                    sys.exit(f"{path}: {value.tag!r} is written as {known} and as {kind}")
    return tags


def check_curve(array, content):
    """Counts that add up, and the precision and recall that follow from them."""
    thresholds = pr_curves.parse_plugin_metadata(content).num_thresholds
    if array.shape != (6, thresholds):
        raise ValueError(f"a curve of shape {array.shape} for {thresholds} thresholds")
    tp, fp, tn, fn, precision, recall = array
    if len(set((tp + fp + tn + fn).tolist())) != 1:
        raise ValueError("the counts do not add up to the same rows everywhere")
    if (abs(precision - tp / (tp + fp).clip(1e-7)) > 1e-5).any():
        raise ValueError("precision does not follow from the counts")
    if (abs(recall - tp / (tp + fn).clip(1e-7)) > 1e-5).any():
        raise ValueError("recall does not follow from the counts")


def check_pictures(array):
    """Width and height, then whole PNG files of that size."""
    width, height, *pictures = array.tolist()
    if not pictures:
        raise ValueError("no pictures")
    for picture in pictures:
        if not picture.startswith(b"\x89PNG\r\n\x1a\n") or not picture.endswith(b"IEND\xaeB\x60\x82"):
            raise ValueError("not a whole PNG file")
        if struct.unpack(">II", picture[16:24]) != (int(width), int(height)):
            raise ValueError("a picture of another size than is said")


def read(accumulator, tag, kind):
    """How many values TensorBoard gives for the tag. Raises where one is not what it should be."""
    if kind == "scalars":
        return len([float(event.value) for event in accumulator.Scalars(tag)])
    if kind == "hparams":
        content = accumulator.SummaryMetadata(tag).plugin_data.content
        parse = {
            hparams.EXPERIMENT_TAG: hparams.parse_experiment_plugin_data,
            hparams.SESSION_START_INFO_TAG: hparams.parse_session_start_info_plugin_data,
            hparams.SESSION_END_INFO_TAG: hparams.parse_session_end_info_plugin_data,
        }[tag]
        parsed = parse(content)
        if tag == hparams.SESSION_START_INFO_TAG and not parsed.hparams:
            raise ValueError("no hyperparameters")
        return 1
    arrays = [tensor_util.make_ndarray(event.tensor_proto) for event in accumulator.Tensors(tag)]
    for array in arrays:
        if kind == "histograms":
            if array.ndim != 2 or array.shape[1] != 3 or (array[:, 2] < 0).any():
                raise ValueError(f"a histogram of shape {array.shape}")
            if (array[:, 0] > array[:, 1]).any():
                raise ValueError("a bucket whose left edge is right of its right edge")
        elif kind == "text":
            for text in array.reshape(-1):
                text.decode("utf-8")
        elif kind == "pr_curves":
            check_curve(array, accumulator.SummaryMetadata(tag).plugin_data.content)
        elif kind == "images":
            check_pictures(array)
        else:
            raise ValueError(f"an unknown kind, {kind!r}")
    return len(arrays)


def projected(folder):
    """Name -> points of the embeddings that the projector's own plugin serves from the folder."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    apps = projector_plugin.ProjectorPlugin(
        base_plugin.TBContext(data_provider=provider, logdir=str(folder))).get_plugin_apps()

    def get(route, **query):
        response = Client(apps[route]).get(route, query_string=query)
        if response.status_code != 200:
            raise ValueError(f"{route}: {response.get_data(as_text=True)}")
        return response.get_data()

    if "." not in json.loads(get("/runs")):
        raise ValueError("the projector sees no embeddings in the folder")
    points = {}
    for embedding in json.loads(get("/info", run="."))["embeddings"]:
        name, (rows, width) = embedding["tensorName"], embedding["tensorShape"]
        values = numpy.frombuffer(get("/tensor", run=".", name=name), dtype="float32")
        if values.size != rows * width or not numpy.isfinite(values).all():
            raise ValueError(f"{name}: {values.size} values for {rows} points of width {width}")
        lines = get("/metadata", run=".", name=name).decode("utf-8").removesuffix("\n").split("\n")
        columns = lines[0].count("\t") + 1
        # As the page reads them: a header where there are several columns, blank lines dropped.
        labels = [line for line in lines[1 if columns > 1 else 0:] if line.strip()]
        if len(labels) != rows or any(line.count("\t") + 1 != columns for line in labels):
            raise ValueError(f"{name}: {len(labels)} labels for {rows} points")
        points[name] = rows
    return points


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--require", default="", help="kinds or tags that must be there, with commas")
    arguments = parser.parse_args()

    tags = written(arguments.folder)
    accumulator = event_accumulator.EventAccumulator(str(arguments.folder), size_guidance={
        event_accumulator.SCALARS: 0, event_accumulator.TENSORS: 0})
    accumulator.Reload()
    kinds = {}
    failures = []
    for tag, kind in sorted(tags.items()):
        try:
            count = read(accumulator, tag, kind)
            if count == 0:
                raise ValueError("no values")
            kinds.setdefault(kind, []).append((tag, count))
        except Exception as error:  # whatever TensorBoard raises is the finding
            failures.append(f"{tag}: {type(error).__name__}: {error}")
    if (arguments.folder / "projector_config.pbtxt").exists():
        try:
            kinds["projector"] = list(projected(arguments.folder).items())
        except Exception as error:
            failures.append(f"projector: {type(error).__name__}: {error}")
    for kind, found in sorted(kinds.items()):
        print(f"{kind}: " + ", ".join(f"{tag} ({count})" for tag, count in found))
    wanted = [kind for kind in arguments.require.split(",") if kind]
    failures += [f"no kind and no tag {one}" for one in wanted if one not in kinds and one not in tags]
    for failure in failures:
        print("FAILED", failure, file=sys.stderr)
    return 1 if failures or not tags else 0


if __name__ == "__main__":
    sys.exit(main())
