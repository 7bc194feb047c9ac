"""What users of PyTorch, Keras and scikit-learn type from habit, and what minidl has instead.

`minidl/utils/guide.py` makes each an error that leads on: "minidl has no Linear: dl.Dense(n_in, n_out)". The page
docs/coming_from.md shows the same table, and a test tries every entry. Code stands between backquotes; a key may be
several names.
"""

from __future__ import annotations

FIT = "`dl.fit(model, train, loss=loss, optimizer=optimizer)`"
BATCHES = f"{FIT} draws the mini-batches; a loop of your own takes them from `train.batches(128, seed=0)`"
CLASS_WEIGHT = "`loss=dl.Weighted(dl.SoftmaxCrossEntropy(), class_weight=[1, 5])`"
ROW_WEIGHT = '`loss=dl.Weighted(loss)`, and `dl.data.Dataset(x, {"target": y, "weight": weight[:, None]})`'
WEIGHTED_MEAN = f"{CLASS_WEIGHT}, whose mean divides by the rows of the batch, PyTorch's by the sum of their weights"
NO_RESET = "leave it out: a backward pass overwrites the gradients and adds nothing up"
SCHEDULE = "a schedule takes the place of the number: `dl.Adam(dl.schedules.Cosine(1e-3, steps=1000))`"
WHERE = 'a model is made where it shall run: `dl.Sequential(*layers, backend="cuda")`'

# Names in a module; those of minidl are for the modules inside it, too.
NAMES: dict[str, dict[str, str]] = {
    "minidl": {
        "nn, optim, keras, models, functional": "layers, losses and optimizers are in minidl itself, as `dl.Dense`",
        "Module, Model": "`dl.Sequential(*layers)`; a layer of your own is a subclass of `dl.Layer`",
        "Linear": "`dl.Dense(n_in, n_out)`",
        "Input, InputLayer": "leave it out: the first `dl.Dense(n_in, n_out)` says how many features there are",
        "Flatten": "leave it out: each sample is a row of x already",
        "Activation, relu, tanh, sigmoid": "an activation is a layer of its own, such as `dl.ReLU()`",
        "Softmax, LogSoftmax": "leave it out: losses take logits; `dl.softmax(model.predict(x))` is for reading",
        "BatchNorm1d, BatchNorm2d, BatchNormalization": "`dl.BatchNorm(features)`",
        "LayerNorm, LayerNormalization, GroupNorm": "of its kind there is only `dl.BatchNorm(features)`",
        "Conv1d, Conv2d, Conv1D, Conv2D": "there are no convolutions, only dense layers and pooling",
        "MaxPool2d, MaxPooling2D": "`dl.MaxPool((28, 28), 2)`, on images that are rows of x",
        "AvgPool2d, AveragePooling2D": "of its kind there is only `dl.MaxPool((28, 28), 2)`",
        "RNN, LSTM, GRU, SimpleRNN": "there are no recurrent layers, only those that pass x forward once",
        "Embedding, MultiheadAttention, MultiHeadAttention, Transformer": "there is no embedding and no attention",
        "Add": "`dl.Residual(*layers)` adds its input to its output",
        "CrossEntropyLoss, NLLLoss, CategoricalCrossentropy, SparseCategoricalCrossentropy":
            "`dl.SoftmaxCrossEntropy()`, of logits",
        "BCELoss, BCEWithLogitsLoss, BinaryCrossentropy": "`dl.BinaryCrossEntropy()`, of logits",
        "MSELoss, MSE": "`dl.MeanSquaredError()`",
        "L1Loss, HuberLoss, Huber, MeanAbsoluteError": "for numbers there is only `dl.MeanSquaredError()`",
        "RMSprop": "`dl.RMSProp()`",
        "Adagrad, Adadelta, Adamax, NAdam, Nadam, LBFGS": "there are `dl.SGD`, `dl.Momentum`, `dl.Nesterov`, "
            "`dl.RMSProp`, `dl.Adam` and `dl.AdamW`",
        "lr_scheduler, StepLR, CosineAnnealingLR, LearningRateScheduler": SCHEDULE,
        "ReduceLROnPlateau": "schedules follow the step alone: `dl.Adam(dl.schedules.Steps(1e-3, 0.5, every=1000))`",
        "clip_grad_norm_, clip_grad_value_": "`clip=dl.ClipNorm(5.0)` is an argument of `dl.fit`",
        "ModelCheckpoint": '`dl.Checkpoint("run.npz")`',
        "CSVLogger, TensorBoard, SummaryWriter": '`log="run.csv"` is an argument of `dl.fit`',
        "regularizers, l1, l2": "`dl.Sequential(*layers, penalty=dl.L2(1e-4))`",
        "tensor, Tensor, Variable, from_numpy": "arrays are NumPy's: `np.asarray(x, np.float32)`",
        "no_grad, inference_mode": "leave it out: `model(x)` keeps nothing for a backward pass",
        "autograd, GradientTape": "each layer has its derivative, written by hand: `model.backward(loss.backward())`",
        "manual_seed, set_seed, seed": "the seed is the model's: `dl.Sequential(*layers, seed=0)`",
        "device": WHERE,
        "compile": "`graph=True` is an argument of `dl.fit`",
        "train": FIT,
        "predict": "`model.predict(x)`",
        "save": "`model.save(path)`; `dl.export.to_onnx(model, path)` for other programs",
        "load_model": "`dl.load(path)`",
        "onnx": "`dl.export.to_onnx(model, path)`",
        "safetensors, save_file": "`dl.export.save_safetensors(model, path)`",
        "load_file": "`dl.export.load_safetensors(model, path)`",
        "summary": "`model.summary()`",
        "metrics": "`dl.evaluate(model, test, loss=loss)` gives loss and accuracy, and "
            "`dl.confusion_matrix(test.y, model.predict(test.x))` which class is taken for which",
        "accuracy, accuracy_score": "`dl.evaluate(model, test, loss=loss)` gives loss and accuracy",
        "classification_report, precision_score, recall_score, ConfusionMatrixDisplay":
            "`dl.confusion_matrix(test.y, model.predict(test.x))`",
        "f1_score": "precision and recall are in `dl.confusion_matrix(test.y, model.predict(test.x))`",
        "Dataset, TensorDataset": "`dl.data.Dataset(x, y)`",
        "DataLoader": BATCHES,
        "datasets": "`dl.data.digits()`, `dl.data.mnist()` and others in `dl.data`",
        "compute_class_weight": "`dl.data.balanced_class_weight(train.y)`",
        "MLPClassifier": "`from minidl.sklearn import MLPClassifier`",
        "MLPRegressor": "`from minidl.sklearn import MLPRegressor`",
        "LogisticRegression": "`dl.Sequential(dl.Dense(784, 10))`, with `dl.SoftmaxCrossEntropy()`",
        "train_test_split": "`dl.data.split(data, 0.8, 0.2)`",
        "KFold, cross_val_score, GridSearchCV": "those of scikit-learn take `minidl.sklearn.MLPClassifier()`",
        "StandardScaler, MinMaxScaler, Normalization": "`dl.data.Standardize()`",
        "PCA": "`dl.data.PCA(components=50)`",
        "to_categorical, OneHotEncoder, LabelBinarizer": "losses take labels; or `dl.data.one_hot(labels, 10)`",
    },
    "minidl.data": {
        "load_digits": "`dl.data.digits()`",
        "make_circles": "`dl.data.circles()`",
        "make_moons": "`dl.data.spiral()`",
        "make_blobs": "`dl.data.gaussians()`",
        "random_split": "`dl.data.split(data, 0.8, 0.2)`",
    },
    "minidl.initializers": {
        "xavier_uniform_, GlorotUniform": "`dl.initializers.glorot_uniform()`",
        "xavier_normal_, GlorotNormal": "`dl.initializers.glorot_normal()`",
        "kaiming_uniform_, HeUniform": "`dl.initializers.he_uniform()`",
        "kaiming_normal_, HeNormal": "`dl.initializers.he_normal()`",
    },
    "minidl.export": {
        "torch, to_torch, to_pytorch": "`dl.export.to_torch_state(model)`",
        "save": "`model.save(path)`; for other programs `dl.export.to_onnx(model, path)` and "
            "`dl.export.save_safetensors(model, path)`",
    },
    "minidl.cuda": {"is_available, device_count": "`dl.backend.available()`"},
}  # fmt: skip

# Attributes, by class; those of a class are those of its subclasses, too.
ATTRIBUTES: dict[str, dict[str, str]] = {
    "Model": {
        "fit, partial_fit, train_on_batch": FIT,
        "compile": f"loss and optimizer are arguments of `dl.fit`: {FIT}",
        "evaluate, score": "`dl.evaluate(model, test, loss=loss)`",
        "predict_proba": "`dl.softmax(model.predict(x))`",
        "predict_classes": "`model.predict(x).argmax(axis=1)`",
        "history, loss_curve_": "`dl.fit` returns it",
        "add, append, add_module": "a model has its layers from the start: `dl.Sequential(*layers)`",
        "state_dict": "`model.snapshot()`; `dl.export.to_torch_state(model)` has PyTorch's names",
        "load_state_dict": "`model.restore(model.snapshot())`, or `dl.export.from_torch_state(model, state)`",
        "get_weights": "`model.snapshot()`",
        "set_weights": "`model.restore(model.snapshot())`",
        "to_onnx, export": "`dl.export.to_onnx(model, path)`",
        "save_weights": "`model.save(path)`",
        "load_weights": "`dl.load(path)`",
        "count_params": "`model.summary()` counts them",
        "coefs_, intercepts_": "`model.layers[0].weight.value`",
    },
    "Layer": {
        "train, eval": "training is an argument of the pass: `model.forward(x, training=True)`",
        "zero_grad": NO_RESET,
        "to, cuda, cpu, device": f'{WHERE}, or loaded there: `dl.load(path, backend="cuda")`',
        "float, double, half": '`dl.Sequential(*layers, dtype="float64")`',
        "named_parameters, weights, trainable_weights, trainable_variables":
            "`model.parameters()`, each with `parameter.name`, `parameter.value` and `parameter.gradient`",
        "modules, named_modules": "`model.walk()`",
        "register_forward_hook": "`dl.inspect(model, x)` looks at each layer",
        "register_parameter, add_weight": 'in its method allocate: `layer.parameter("scale", array)`',
        "register_buffer, named_buffers":
            'in its method allocate: `layer.state("count", array)`; a `layer.buffer` of minidl is not saved',
        "trainable, requires_grad_": "every parameter is learned",
        "kernel": "`layer.weight`",
        "in_features, num_features": "`layer.n_in`",
        "out_features, units": "`layer.n_out`",
        "running_var, moving_variance": "`batch_norm.running_variance`",
        "moving_mean": "`batch_norm.running_mean`",
    },
    "Parameter": {
        "grad": "`parameter.gradient`",
        "data, numpy, detach": "`parameter.value`",
        "assign, copy_": "`parameter.value = array`",
        "requires_grad": "every parameter is learned",
    },
    "Optimizer": {
        "zero_grad": NO_RESET,
        "lr, param_groups": "`optimizer.learning_rate`, which may be changed between two steps",
        "minimize, apply_gradients": "`optimizer.step(model.parameters())`",
        "state_dict, get_weights": "`optimizer.snapshot()`",
    },
    "History": {
        "history": '`history["loss"]`',
        "loss, accuracy, val_loss, val_accuracy": '`history["validation_loss"]` and the like',
    },
    "Dataset": {
        "data": "`dataset.x`",
        "target, targets, labels": "`dataset.y`",
        "shape": "`dataset.x.shape`",
        "batch, shuffle": "`dataset.batches(128, seed=0)`",
        "train_test_split": "`dl.data.split(dataset, 0.8, 0.2)`",
    },
    "MLP": {
        "coefs_": "`classifier.model_.layers[0].weight.value`",
        "intercepts_": "`classifier.model_.layers[0].bias.value`",
        "partial_fit": "`dl.fit(classifier.model_, train, loss=loss, optimizer=optimizer)` trains on",
        "n_iter_": "`len(classifier.loss_curve_)`",
        "save": "`classifier.model_.save(path)`; pickle keeps the whole estimator",
        "summary": "`classifier.model_.summary()`",
    },
}  # fmt: skip

# Arguments, by function or class: wrong ones, or those that are left out, or TOO_MANY without a name.
TOO_MANY = "third argument without a name"
ARGUMENTS: dict[str, dict[str, str]] = {
    "fit": {
        TOO_MANY: f"loss and optimizer need their names: {FIT}, where train is `dl.data.Dataset(x, y)`",
        "x, y": "`train=dl.data.Dataset(x, y)`",
        "validation_data": "`validation=test`",
        "validation_split": "`train, validation = dl.data.split(train, 0.9, 0.1)`, then `validation=validation`",
        "n_epochs, num_epochs, max_iter": "`epochs=10`",
        "loss, optimizer": "`dl.fit(model, train, loss=dl.SoftmaxCrossEntropy(), optimizer=dl.Adam(1e-3))`",
        "verbose": "`progress=False`",
        "metrics": "leave it out: loss and accuracy are always measured",
        "criterion, loss_fn": "`loss=dl.SoftmaxCrossEntropy()`",
        "lr, learning_rate": "`optimizer=dl.Adam(learning_rate=1e-3)`",
        "weight_decay": "`optimizer=dl.AdamW(weight_decay=0.01)`",
        "class_weight": CLASS_WEIGHT,
        "sample_weight": ROW_WEIGHT,
        "initial_epoch": '`resume="run.npz"`',
        "early_stopping": '`callbacks=[dl.EarlyStopping("validation_loss")]`',
        "device": WHERE,
        "random_state, seed": "`dl.Sequential(*layers, seed=0)`",
    },
    "sweep": {
        "n_trials, n_iter": "`trials=20`",
        "n_jobs, n_workers": "`jobs=2`",
        "search_space, param_grid, param_distributions": '`space={"learning_rate": (1e-4, 0.1), "width": [32, 64]}`',
        "random_state": "`seed=0`",
        "study_name": 'a storage has one sweep: `storage="sweep.journal"`',
        "direction": "leave it out: the smallest validation loss is the best",
        "batch_size, optimizer, learning_rate": '`space={"learning_rate": (1e-4, 0.1), "batch_size": 64}`',
    },
    "evaluate": {
        TOO_MANY: "loss needs its name: `dl.evaluate(model, test, loss=loss)`, where test is `dl.data.Dataset(x, y)`",
        "loss": "`loss=dl.SoftmaxCrossEntropy()`",
        "batch_size, verbose": "leave it out",
    },
    "load": {"map_location, device": '`backend="cpu"`', "custom_objects": "`layers=[Layer]`"},
    "split": {
        "test_size, train_size": "`dl.data.split(data, 0.8, 0.2)`",
        "random_state": "`seed=0`",
        "stratify": "`stratified=True`",
        "shuffle": "leave it out: rows are always drawn at random",
    },
    "Dataset": {
        "batch_size, shuffle": BATCHES,
        "transform": "`augmentation=dl.data.Augmentation(dl.data.Shift(2))` is an argument of `dl.fit`",
    },
    "Sequential": {
        "device": '`backend="cuda"`',
        "random_state": "`seed=0`",
        "optimizer, loss": FIT,
        "hidden_layer_sizes": "`dl.Sequential(dl.Dense(784, 100), dl.ReLU(), dl.Dense(100, 10))`",
    },
    "Layer": {
        "inplace": "leave it out: each layer has a buffer of its own",
        "name": "leave it out: a layer is called by its place, such as 0.Dense",
        "device, dtype": 'of the whole model: `dl.Sequential(*layers, backend="cuda", dtype="float64")`',
        "trainable": "leave it out: every parameter is learned",
    },
    "Dense": {
        "n_out": "both sizes are needed: `dl.Dense(784, 64)`",
        "units, out_features": "`n_out=64`",
        "in_features, input_dim, input_shape": "`n_in=784`",
        "activation": "a layer of its own: `dl.Sequential(dl.Dense(784, 64), dl.ReLU())`",
        "use_bias": "`bias=True`",
        "kernel_initializer": '`init="he_normal"`',
        "kernel_regularizer": "`penalty=dl.L2(1e-4)`",
        "kernel_constraint": "`max_norm=3.0`",
    },
    "BatchNorm": {
        "num_features": "`features=64`",
        "momentum": "`decay=0.9`, the weight of the old value: Keras's momentum, and 1 minus PyTorch's",
        "eps": "`epsilon=1e-5`",
    },
    "Dropout": {"p": "`rate=0.5`"},
    "LeakyReLU": {"negative_slope, alpha": "`slope=0.01`"},
    "PReLU": {"num_parameters": "`features=64`", "init": "`slope=0.25`"},
    "MaxPool": {
        "kernel_size, pool_size": "`shape=(28, 28), size=2`",
        "strides": "`stride=2`",
    },
    "Loss": {
        "from_logits": "leave it out: outputs are always logits",
        "reduction": "leave it out: a loss is always a mean",
        "weight, class_weight": WEIGHTED_MEAN,
        "pos_weight": CLASS_WEIGHT,
    },
    "Optimizer": {
        "lr": "`learning_rate=1e-3`; the parameters go into `optimizer.step(model.parameters())`",
        "params": "they go into each step: `optimizer.step(model.parameters())`",
        "momentum": "`dl.Momentum(0.01, momentum=0.9)`",
        "nesterov": "`dl.Nesterov(0.01, momentum=0.9)`",
        "weight_decay": "`dl.AdamW(weight_decay=0.01)`, or `dl.Sequential(*layers, penalty=dl.L2(1e-4))`",
        "clipnorm, clipvalue": "`clip=dl.ClipNorm(5.0)` is an argument of `dl.fit`",
    },
    "RMSProp": {"alpha, rho": "`decay=0.9`", "eps": "`epsilon=1e-8`"},
    "AdamW": {"betas": "`beta1=0.9, beta2=0.999`", "beta_1": "`beta1=0.9`", "beta_2": "`beta2=0.999`",
              "eps": "`epsilon=1e-8`"},
    "MLP": {
        "solver": '`optimizer="adam"`',
        "learning_rate_init, lr": "`learning_rate=1e-3`",
        "max_iter, n_epochs, max_epochs": "`epochs=200`",
        "early_stopping": "`validation_fraction=0.1`",
        "n_iter_no_change": "`patience=10`",
        "momentum, nesterovs_momentum": '`optimizer="momentum"` and `optimizer="nesterov"` have one of 0.9',
        "l2, weight_decay": "`alpha=1e-4`",
        "seed": "`random_state=0`",
        "device": '`backend="cuda"`',
        "dtype": "leave it out: a network has that of X",
        "dropout_rate": "`dropout=0.5`",
        "shuffle": "leave it out: each epoch takes the rows in a new order",
        "tol": "leave it out: with `validation_fraction=0.1`, training stops after `patience=10` epochs in vain",
        "warm_start": "leave it out: fit draws a new network; "
            "`dl.fit(classifier.model_, train, loss=loss, optimizer=optimizer)` trains on",
        "beta_1, beta_2": '`optimizer="adam"` has 0.9 and 0.999; others are for `dl.fit`, as `dl.Adam(beta1=0.8)`',
        "verbose": "leave it out: `classifier.history_` shows the epochs afterwards",
    },
    "ClipValue": {"max_norm, clip_value": "`limit=5.0`"},
    "EarlyStopping": {
        "min_delta": "`smallest_change=1e-3`",
        "restore_best_weights": "`restore_best=True`",
        "mode": "leave it out: an accuracy shall rise, everything else fall",
    },
    "Checkpoint": {"filepath": '`path="run.npz"`', "monitor, save_best_only": '`best="validation_loss"`'},
}  # fmt: skip

# Words for a choice, which resemble the wrong one or none.
CHOICES = {
    "gpu": "cuda",
    "cuda:0": "cuda",
    "float16": "float32",
    "half": "float32",
    "double": "float64",
    "he": "he_normal",
    "kaiming": "he_normal",
    "kaiming_normal": "he_normal",
    "kaiming_uniform": "he_uniform",
    "xavier": "glorot_uniform",
    "glorot": "glorot_uniform",
    "xavier_normal": "glorot_normal",
    "xavier_uniform": "glorot_uniform",
    "val_loss": "validation_loss",
    "val_accuracy": "validation_accuracy",
    "val_acc": "validation_accuracy",
    "acc": "accuracy",
    "lr": "learning_rate",
    "weight_decay": "l2",
    "logistic": "sigmoid",
}

# Options of the command line.
OPTIONS = {"--lr": "--learning-rate", "--weight-decay": "--l2", "--hidden": "--layers", "--device": "--backend"}

# Words for an object.
OBJECTS = {
    "adam": "dl.Adam()",
    "adamw": "dl.AdamW()",
    "rmsprop": "dl.RMSProp()",
    "sgd": "dl.SGD()",
    "mse": "dl.MeanSquaredError()",
    "mean_squared_error": "dl.MeanSquaredError()",
    "cross_entropy": "dl.SoftmaxCrossEntropy()",
    "categorical_crossentropy": "dl.SoftmaxCrossEntropy()",
    "sparse_categorical_crossentropy": "dl.SoftmaxCrossEntropy()",
    "binary_crossentropy": "dl.BinaryCrossEntropy()",
}
