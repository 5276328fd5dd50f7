"""What quantising loses, as tables for a person."""

from __future__ import annotations

from rich.table import Table

from headnod_train.training.quantise import QuantisationReport


def quantisation_tables(losses: QuantisationReport) -> tuple[Table, Table]:
    """Every form beside float32, and every layer of the int8 file."""
    forms = Table("form", "kB", "same genre as float32", title="what each form loses", title_justify="left")
    for form in losses.forms:
        forms.add_row(form.form, f"{form.size / 1000:.0f}", f"{form.agreement:.1%}")
    layers = Table("", "layer", "numbers", "one step", "error in steps", title_justify="left")
    layers.title = "what int8 adds in each layer (rounding alone: 0.29)"
    for layer in losses.layers:
        layers.add_row(
            str(layer.place), layer.operation, f"{layer.numbers:,}", f"{layer.scale:.4g}", f"{layer.error:.2f}"
        )
    return forms, layers
