# rclone_state: rclone's configuration file and the backends it knows; changes nothing
[CmdletBinding(SupportsShouldProcess)]
param ([string]$Program, [string]$Config)
$Ansible.Changed = $false
$utf8 = New-Object System.Text.UTF8Encoding $false
$text = if (Test-Path -LiteralPath $Config) { [System.IO.File]::ReadAllText($Config, $utf8) } else { '' }
$providers = if (Test-Path -LiteralPath $Program) { (& $Program config providers) -join "`n" } else { '' }
$Ansible.Result = @{ config = $text; providers = $providers }
