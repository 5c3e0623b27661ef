# SPDX-License-Identifier: MIT
"""A stand-in for the Proxmox VE API (8.4 and 9.1): stateful, over HTTPS, with tasks. It is not Proxmox VE."""
