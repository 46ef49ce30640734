"""How good the results are: measures, baselines, protocols, tables and figures."""
