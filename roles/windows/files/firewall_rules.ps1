# firewall_rules: rules of Hyper-V's firewall for WSL as listed; rules of ours that are not listed go, here and in Windows' own
[CmdletBinding(SupportsShouldProcess)]
param ([string[]]$Keep, [string]$Debian)
$wsl = '{40E0AC32-46A5-438A-A0B2-2B479E8F2E90}'
$Ansible.Changed = $false
foreach ($rule in @(Get-NetFirewallRule -Group 'homelab.mediaserver' -ErrorAction SilentlyContinue)) {
    if ($Keep -notcontains $rule.DisplayName) {
        $Ansible.Changed = $true
        if (-not $Ansible.CheckMode) { $rule | Remove-NetFirewallRule }
    }
}
$wanted = @{}
foreach ($rule in ($Debian | ConvertFrom-Json)) {
    $text = '{0} {1} {2}' -f $rule.protocol.ToUpper(), $rule.port, (@($rule.from | Sort-Object) -join ',')
    # the name says what the rule is, so a changed rule is another one
    $wanted["mediaserver $text"] = $rule
}
$there = @(Get-NetFirewallHyperVRule -VMCreatorId $wsl -ErrorAction SilentlyContinue | Where-Object { $_.Name -like 'mediaserver *' })
foreach ($rule in $there) {
    if (-not $wanted.ContainsKey($rule.Name)) {
        $Ansible.Changed = $true
        if (-not $Ansible.CheckMode) { Remove-NetFirewallHyperVRule -Name $rule.Name }
    }
}
foreach ($name in $wanted.Keys) {
    if (@($there.Name) -notcontains $name) {
        $Ansible.Changed = $true
        $rule = $wanted[$name]
        $sources = @(if (@($rule.from) -contains 'any') { 'Any' } else { $rule.from })
        if (-not $Ansible.CheckMode) {
            $null = New-NetFirewallHyperVRule -Name $name -DisplayName $rule.name -VMCreatorId $wsl -Direction Inbound -Action Allow `
                -Protocol $rule.protocol.ToUpper() -LocalPorts $rule.port -RemoteAddresses $sources
        }
    }
}
