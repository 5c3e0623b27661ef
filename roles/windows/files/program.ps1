# program: runs one of our programs with its configuration; what it says is the result
[CmdletBinding(SupportsShouldProcess)]
param ([string]$Python, [string]$Folder, [string]$Name, [string]$Arguments, [switch]$Writes)
$Ansible.Changed = [bool]$Writes
if ($Writes -and $Ansible.CheckMode) { return }
[Console]::OutputEncoding = New-Object System.Text.UTF8Encoding $false
$env:MEDIASERVER_BACKUP_CONFIG = "$Folder\etc\backup.json"
$env:MEDIASERVER_INGEST_CONFIG = "$Folder\etc\ingest.json"
$said = & $Python -X utf8 -B "$Folder\lib\$Name\mediaserver_$Name.py" ($Arguments -split ' ') 2>&1 | ForEach-Object { "$_" }
$Ansible.Result = @{ lines = @($said); code = $LASTEXITCODE }
