# Copyright (c) 2026 TradingFlow Maintenance contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An action's options, and errors of them in words that people know."""

from __future__ import annotations

import re
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

# Ansible's marked texts and numbers are an inner matter of it.
_TYPE = re.compile(r"(?:<class ')?(?:\w+\.)*_AnsibleTagged(\w+)(?:'>)?")


def plain_types(text: str) -> str:
    """A message with Python's names for Ansible's own types."""
    return _TYPE.sub(lambda found: found[1].lower(), text)


def validated(action: ActionBase, spec: dict[str, Any], **rules: Any) -> dict[str, Any]:
    """The action's options as its spec says, with defaults.

    :raises AnsibleActionFail: an option is none, or not of its type
    """
    try:
        _validated, args = action.validate_argument_spec(argument_spec=spec, **rules)
    except AnsibleActionFail as error:
        raise AnsibleActionFail(plain_types(str(error))) from None
    return dict(args)


def as_another(name: str, value: dict[str, Any] | None, spec: dict[str, Any]) -> dict[str, Any] | None:
    """An option that has the options of another action, as its spec says, with defaults; None when it is left out.

    :raises AnsibleActionFail: one of them is none, or not of its type
    """
    if value is None:
        return None
    result = ArgumentSpecValidator(spec).validate(value)
    if result.error_messages:
        raise AnsibleActionFail(plain_types(f"{name}: {'; '.join(result.error_messages)}"))
    return dict(result.validated_parameters)
