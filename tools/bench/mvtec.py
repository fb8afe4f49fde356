"""The metrics of a detector on a category in MVTec AD's layout, for the other scripts of this folder."""

import numpy as np
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score


def metrics(root, category, size, inspect):
    """Returns image AUROC, pixel AUROC and pixel AP of the test images. `inspect(path)` returns the image score and the map, `size` x `size`."""
    labels, scores, masks, maps = [], [], [], []
    for path in sorted((root / category / "test").glob("*/*")):
        score, found = inspect(path)
        labels.append(path.parent.name != "good")
        scores.append(score)
        maps.append(found.ravel())
        mask = root / category / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
        marked = Image.open(mask).convert("L").resize((size, size), Image.NEAREST) if labels[-1] else np.zeros((size, size))
        masks.append(np.array(marked).ravel() > 127)
    masks, maps = np.concatenate(masks), np.concatenate(maps)
    return [roc_auc_score(labels, scores), roc_auc_score(masks, maps), average_precision_score(masks, maps)]
