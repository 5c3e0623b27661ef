# defender_exclusions: adds the paths that are missing; what others added stays
[CmdletBinding(SupportsShouldProcess)]
param ([string[]]$Paths)
$known = @((Get-MpPreference).ExclusionPath)
$missing = @($Paths | Where-Object { $known -notcontains $_ })
$Ansible.Changed = $missing.Count -gt 0
if ($Ansible.Changed -and -not $Ansible.CheckMode) {
    Add-MpPreference -ExclusionPath $missing
}
