"""The same networks, trained by minidl, NumPy alone, JAX and PyTorch.

A module for each, so that a process imports only what it measures. Each has

    Peer(problem)                  run(steps) returns when the last step is done; parameters() are NumPy arrays in the
                                   order of `Problem.start()`
    peers(problem)                 {name: Peer}, one for each way to use the framework
    Epochs(problem, x, labels)     run(epochs) takes all rows in a new random order for each epoch; accuracy() is the
                                   share of right answers on the same rows

as far as the framework is measured that way.
"""
