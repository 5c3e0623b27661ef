# wsl_package: WSL's own package; the feature of Windows alone is only its door
[CmdletBinding(SupportsShouldProcess)]
param ()
$null = wsl.exe --version
$Ansible.Changed = $LASTEXITCODE -ne 0
if ($Ansible.Changed -and -not $Ansible.CheckMode) {
    $said = wsl.exe --install --no-distribution | Out-String
    if ($LASTEXITCODE -ne 0) { throw "Unable to install WSL: $said" }
}
