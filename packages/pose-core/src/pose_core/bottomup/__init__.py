"""Methods that find everyone in a whole image: settings, data, training, evaluation, prediction."""
