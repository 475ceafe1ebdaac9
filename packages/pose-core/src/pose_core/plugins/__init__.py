"""Where names become things: installed methods, networks, experiments, predictors."""
