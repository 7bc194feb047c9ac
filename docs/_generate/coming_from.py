"""Writes docs/coming_from.md from the table of minidl/utils/habits.py.

python docs/_generate/coming_from.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from minidl.utils import habits
from minidl.utils.files import write_whole

PAGE = Path(__file__).parent.parent / "coming_from.md"
HEAD = """# Coming from PyTorch, Keras, scikit-learn

minidl has few names, and one for each thing. What you type from habit is an error that says what to write instead:

```text
>>> dl.Linear(784, 128)
AttributeError: minidl has no Linear: dl.Dense(n_in, n_out)
>>> dl.Adam(lr=1e-3)
TypeError: Adam takes no lr: learning_rate=1e-3; the parameters go into optimizer.step(model.parameters())
```

The tables below are those of the errors, written by `docs/_generate/coming_from.py`. First what is more than a name.

- **Nothing is differentiated automatically.** `loss.backward()` returns the gradient with respect to the outputs, and
  `model.backward` takes it. A backward pass overwrites the gradients of the one before.
- **Training is an argument.** `model(x)` is `model.forward(x)`, at inference; `model(x, training=True)` is the pass
  that a backward pass needs.
- **Outputs are logits**, those of `predict` too. Losses take logits, so no softmax and no sigmoid ends a network. A
  loss is not called: `loss.forward(y, labels)`.
- **Samples are rows.** x has shape (rows, features), in float32 or float64; an image is a row. A layer with weights
  gets both sizes.
- **Backend, dtype and seed** are the model's, from the start. Arrays that go in and come out are NumPy's.

```python
import minidl as dl

train, test = dl.data.digits()
train, validation = dl.data.split(train, 0.9, 0.1)
model = dl.Sequential(dl.Dense(784, 128), dl.ReLU(), dl.Dense(128, 10), seed=0)
loss, optimizer = dl.SoftmaxCrossEntropy(), dl.Adam(1e-3)
dl.fit(model, train, validation=validation, loss=loss, optimizer=optimizer, epochs=5)
print(dl.evaluate(model, test, loss=loss))
```

In place of `dl.fit`, a loop of your own:

```python
for epoch in range(5):
    for x, labels in train.batches(128, seed=epoch):
        y = model(x, training=True)
        value = loss.forward(y, labels)
        model.backward(loss.backward())
        optimizer.step(model.parameters())
```

scikit-learn's own tools take {py:obj}`minidl.sklearn.MLPClassifier` and {py:obj}`minidl.sklearn.MLPRegressor` as they
take its own estimators (`pip install 'minidl[sklearn]'`). Inside is a model like those above, for all of minidl's
instruments:

```python
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from minidl.sklearn import MLPClassifier

X, y = load_digits(return_X_y=True)
network = make_pipeline(StandardScaler(), MLPClassifier((64,), epochs=20, random_state=0))
search = GridSearchCV(network, {"mlpclassifier__dropout": [0.0, 0.2], "mlpclassifier__alpha": [0.0, 1e-3]})
search.fit(X, y)
print(search.best_params_, search.best_score_)
print(search.best_estimator_[-1].model_.summary())
```
"""
OWNERS = {
    "Model": "A model", "Layer": "A layer or a model", "Parameter": "A parameter", "Optimizer": "An optimizer",
    "History": "A history, what `dl.fit` returns", "Dataset": "A data set",
    "MLP": "An `MLPClassifier` or `MLPRegressor`",
}  # fmt: skip
ESTIMATORS = {"MLP": "MLPClassifier`, `MLPRegressor"}


def table(rows: Mapping[str, str], heading: str, form: str = "`{}`") -> str:
    """A table of names, each in the form of code that it is typed in, and advice."""
    lines = [f"| {heading} | in minidl |", "|---|---|"]
    for names, text in rows.items():
        shown = names if names == habits.TOO_MANY else ", ".join(form.format(name) for name in names.split(", "))
        lines.append(f"| {shown} | {text} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The text of the page."""
    parts = [HEAD, "## Names"]
    for module, rows in habits.NAMES.items():
        parts.append(table(rows, f"in `{module}`"))
    parts.append("## Attributes and methods")
    for kind, rows in habits.ATTRIBUTES.items():
        parts.append(f"{OWNERS[kind]}:\n\n" + table(rows, "you write", "`.{}`"))
    parts.append("## Arguments")
    for owner, rows in habits.ARGUMENTS.items():
        parts.append(f"`{ESTIMATORS.get(owner, owner)}`:\n\n" + table(rows, "you write"))
    parts.append("## Words\n\nWhere a string is expected, and where an object is:")
    words = {word: f'`"{right}"`' for word, right in habits.CHOICES.items()}
    words.update({word: f"`{right}`" for word, right in habits.OBJECTS.items()})
    parts.append(table(words, "you write", '`"{}"`'))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def main() -> None:
    with write_whole(PAGE, "w") as file:
        file.write(page())


if __name__ == "__main__":
    main()
