# never_sleep: no standby, no hibernation on mains; only what differs is set
[CmdletBinding(SupportsShouldProcess)]
param ()
$Ansible.Changed = $false
foreach ($setting in @(@('SUB_SLEEP', 'STANDBYIDLE'), @('SUB_SLEEP', 'HIBERNATEIDLE'))) {
    $said = powercfg.exe /query SCHEME_CURRENT $setting[0] $setting[1] | Out-String
    # the last two numbers are the values on mains and on battery, in every language
    $found = [regex]::Matches($said, '0x[0-9a-f]{8}')
    if ($found.Count -lt 2 -or $found[$found.Count - 2].Value -ne '0x00000000') {
        $Ansible.Changed = $true
        if (-not $Ansible.CheckMode) {
            powercfg.exe /setacvalueindex SCHEME_CURRENT $setting[0] $setting[1] 0
            powercfg.exe /setactive SCHEME_CURRENT
        }
    }
}
