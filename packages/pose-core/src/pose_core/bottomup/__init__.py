"""Methods that find all people in a whole image: settings, data, training, evaluation, prediction."""
