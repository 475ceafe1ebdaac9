"""Methods that work on crops of one person: settings, data, targets, training, evaluation, prediction."""
