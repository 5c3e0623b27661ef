# SPDX-License-Identifier: MIT
"""The lab: networks and Debian machines in local Docker containers, standing in for a home's hardware."""
