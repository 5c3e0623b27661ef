# shares_left_over: shares of ours that are no longer listed go; their files stay
[CmdletBinding(SupportsShouldProcess)]
param ([string[]]$Keep)
$ours = @(Get-SmbShare | Where-Object { $_.Description -eq 'Written by homelab.mediaserver' -and $Keep -notcontains $_.Name })
$Ansible.Changed = $ours.Count -gt 0
if ($Ansible.Changed -and -not $Ansible.CheckMode) {
    $ours | Remove-SmbShare -Force
}
